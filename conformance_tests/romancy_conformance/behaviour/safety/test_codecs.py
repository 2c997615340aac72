"""Codecs around payloads: behaviour is unchanged, payloads are unreadable, and a missing codec loses nothing."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    CodecError,
    Codecs,
    EventType,
    InstanceConflictError,
    RetryPolicy,
    Romancy,
    Status,
    StorageUnavailableError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import ActivityCompleted
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.coded import CHAINS, LEDGER, SECRET, Masking, coded_errand, compressing
from romancy_conformance.behaviour.waiting import status_is, until
from romancy_conformance.process_control import DEAD

if TYPE_CHECKING:
    from pathlib import Path

    from romancy import PayloadContext, Workflow
    from romancy_conformance.behaviour.opening import Open

    Known = list[Workflow[..., Any]]

pytestmark = pytest.mark.anyio

Word = EventType("word", str)
carried_out: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    carried_out.clear()
    broken.clear()


@compensation
async def coded_put_back(secret: str) -> None:
    carried_out.append(f"put back {secret}")


@activity(compensation=coded_put_back)
async def coded_take(secret: str) -> str:
    carried_out.append(secret)
    return secret


@activity(retry=RetryPolicy.none())
async def coded_fail_if_broken(what: str) -> str:
    if "the step" in broken:
        raise LookupError("the step is broken")
    return what


@activity
async def coded_bake(what: str) -> str:
    return what + " bread"


@activity
async def coded_bake_in_a_session(what: str) -> str:
    await activity_context().session()
    return what + " bread"


@activity
async def coded_lose_the_keys(what: str) -> str:
    carried_out.append(what)
    broken.add("the keys")
    return what


calls_coded_take = calling(coded_take)


@workflow
async def coded_parent(ctx: WorkflowContext, secret: str) -> list[str]:
    await ctx.report({"secret": secret})
    heard = await ctx.wait_event(Word)
    return [await coded_take(secret), heard.data, await calls_coded_take(secret)]


@workflow
async def coded_boss(ctx: WorkflowContext) -> str:
    words = await ctx.start(coded_words.options(instance_id="words"), 1)
    try:
        await words.result()
    except WorkflowCancelledError:
        return "no word came"
    return "a word came"


@workflow
async def coded_words(ctx: WorkflowContext, count: int) -> list[str]:
    return [await coded_take((await ctx.wait_event(Word)).data) for _ in range(count)]


@workflow(index=["name"])
async def coded_saga(ctx: WorkflowContext, name: str, left: int) -> str:
    if left:
        return coded_saga.recur(name, left - 1)
    return await coded_take(name) + await coded_fail_if_broken(SECRET)


@workflow
async def coded_result(ctx: WorkflowContext, what: str, where: str) -> str:
    return await (coded_bake_in_a_session if where == "in a session" else coded_bake)(what)


@workflow
async def coded_without_keys(ctx: WorkflowContext) -> str:
    return await coded_lose_the_keys((await ctx.wait_event(Word)).data)


class Particular(Masking):
    """Refuses to write what `broken` names, or anything for the time being."""

    def encode(self, data: bytes, context: PayloadContext, /) -> bytes:
        if "the keys" in broken:
            raise StorageUnavailableError("the keys are out of reach")
        for word in broken:
            if word.encode() in data:
                raise ValueError(f"cannot write {word}")
        return super().encode(data, context)


async def stored(url: str) -> bytes:
    """Return everything that codecs encode, as the database stores it."""
    store, found = create_store(url), list[bytes]()
    await store.open()
    async with Romancy(url, worker=False, workflows=[]) as app:
        async for instance in app.iter_instances():
            history = await store.read(instance.instance_id)
            assert history is not None
            found += [history.instance.input, *(row.body for row in history.rows)]
    await store.close()
    return b"\n".join(found)


@pytest.mark.parametrize("chain", CHAINS)
async def test_nothing_works_differently_and_nothing_is_readable(open_app: Open, storage_url: str, chain: str) -> None:
    app = await open_app(codecs=CHAINS[chain])
    handle = await app.start(coded_parent, SECRET)
    await handle.signal(Word, SECRET)

    assert await handle.result(timeout=60) == [SECRET, SECRET, SECRET]
    assert await handle.report() == {"secret": SECRET}
    done = [event for event in await handle.history() if isinstance(event, ActivityCompleted)]
    assert SECRET.encode() in bytes(done[0].result)
    async for instance in app.iter_instances():
        assert instance.input == {"secret": SECRET}
    assert SECRET.encode() not in await stored(storage_url)


async def test_what_was_written_without_is_read_with_and_the_other_way_round(
    open_app: Open, storage_url: str, workflows: Known
) -> None:
    stages: list[Any] = [(), [compressing()], Codecs(Masking(), read_only=[compressing()])]
    last = Codecs(Masking(b"new", key_id="2"), read_only=[compressing(), Masking()])
    async with Romancy(storage_url, worker=False, workflows=workflows) as app:
        handle = await app.start(coded_words.options(instance_id="long"), 4)
    for number, codecs in enumerate(stages):
        async with Romancy(storage_url, workflows=workflows, codecs=codecs) as app:
            await app.signal("long", Word, f"{number} {SECRET}")
            await until(functools.partial(carried_out.__contains__, f"{number} {SECRET}"))
            await status_is(app, "long", Status.WAITING)
    app = await open_app(codecs=last)
    await (await open_app(worker=False)).signal("long", Word, "plain")

    handle = app.handle("long", coded_words)
    assert await handle.result(timeout=60) == [*(f"{number} {SECRET}" for number in range(3)), "plain"]
    assert len(carried_out) == 4
    words = (await stored(storage_url)).split(b'"codec":"')[1:]
    assert {word.split(b'"')[0] for word in words} == {b"zlib", b"mask:1", b"mask:2"}


@pytest.mark.parametrize("moment", ["commit:after:1", "commit:before:3", "commit:after:4"])
async def test_a_log_of_a_codec_is_taken_up_after_a_kill(
    open_app: Open, shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ledger = tmp_path / "ledger"
    monkeypatch.setenv(LEDGER, str(ledger))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    program = [sys.executable, "-m", "romancy_conformance.behaviour.coded"]
    command = [*program, shared_url, "--ledger", str(ledger), "--fail", moment]
    killed = await asyncio.to_thread(subprocess.run, command, env=environment, check=False, timeout=200)
    assert killed.returncode == DEAD

    app = await open_app(workflows=[coded_errand], codecs=CHAINS["compressing and masking"])

    expected = [f"{number} {SECRET}" for number in range(4)]
    assert await app.handle("errand", coded_errand).result(timeout=60) == expected
    steps = ledger.read_text(encoding="utf-8").split()
    assert sorted(set(steps)) == ["0", "1", "2", "3"]
    assert len(steps) <= 5
    assert SECRET.encode() not in await stored(shared_url)


async def test_without_the_codec_an_instance_waits_for_who_has_it(
    open_app: Open, storage_url: str, workflows: Known
) -> None:
    async with Romancy(storage_url, workflows=workflows, codecs=[Masking()]) as app:
        await app.start(coded_parent.options(instance_id="sealed"), SECRET)
        await status_is(app, "sealed", Status.WAITING)
        await app.drain()  # so that it continues elsewhere
        await app.signal("sealed", Word, SECRET)
    carried_out.clear()
    async with Romancy(storage_url, workflows=workflows) as without:
        await status_is(without, "sealed", Status.STUCK)
        assert await without.run(calls_coded_take, "plain") == "plain"

        instance = await without.get_instance("sealed")
        assert instance is not None
        assert "written with the codec 'mask:1', which this app does not have" in (instance.error or "")
        assert {each.instance_id for each in (await without.list_instances(workflow_name="parent")).instances} == {
            "sealed"
        }
        for ask in (without.history("sealed"), without.start(coded_parent.options(instance_id="sealed"), SECRET)):
            with pytest.raises(CodecError, match="mask:1"):
                await ask
        with pytest.raises(CodecError, match="mask:1"):
            _ = instance.input
    assert carried_out == ["plain"]

    app = await open_app(codecs=[Masking()])

    assert await app.handle("sealed", coded_parent).result(timeout=60) == [SECRET] * 3
    assert carried_out == ["plain", SECRET, SECRET]


async def test_a_message_nobody_here_can_read_waits_for_who_can(
    open_app: Open, storage_url: str, workflows: Known
) -> None:
    async with Romancy(storage_url, workflows=workflows) as without:
        await without.start(coded_words.options(instance_id="addressee"), 1)
        await status_is(without, "addressee", Status.WAITING)
        await (await open_app(worker=False, codecs=[Masking()])).signal("addressee", Word, SECRET)
        await status_is(without, "addressee", Status.STUCK)
        instance = await without.get_instance("addressee")
        assert instance is not None
        assert "'mask:1'" in (instance.error or "")

    app = await open_app(codecs=[Masking()])

    assert await app.handle("addressee", coded_words).result(timeout=60) == [SECRET]


async def test_a_wrong_key_parks_and_the_right_one_resumes(open_app: Open, storage_url: str, workflows: Known) -> None:
    async with Romancy(storage_url, worker=False, workflows=workflows, codecs=[Masking()]) as front:
        await front.start(calls_coded_take.options(instance_id="locked"), SECRET)
    async with Romancy(storage_url, workflows=workflows, codecs=[Masking(b"another key")]) as app:
        await status_is(app, "locked", Status.STUCK)
        instance = await app.get_instance("locked")
        assert instance is not None
        assert "the codec 'mask:1' could not read it (ValueError)" in (instance.error or "")
    app = await open_app(codecs=[Masking()])

    await app.resume("locked")

    assert await app.handle("locked", calls_coded_take).result(timeout=60) == SECRET


async def test_a_start_that_cannot_be_written_is_refused(open_app: Open) -> None:
    app = await open_app(codecs=[Particular()])
    broken.add("sardine")

    with pytest.raises(CodecError, match=r"the codec 'mask:1' could not write it \(ValueError\)"):
        await app.start(calls_coded_take.options(instance_id="unwritten"), "sardine")
    started = await app.start_many([calls_coded_take.bind("cod"), calls_coded_take.bind("eel")])

    assert await app.get_instance("unwritten") is None
    assert [await handle.result(timeout=60) for handle in started] == ["cod", "eel"]


@pytest.mark.parametrize("where", ["by itself", "in a session"])
async def test_a_result_that_cannot_be_written_parks_its_instance_alone(open_app: Open, where: str) -> None:
    app = await open_app(codecs=[Particular()])
    broken.add("sardine bread")
    handles = await app.start_many([coded_result.bind(fish, where) for fish in ("sardine", "cod")])

    assert await handles[1].result(timeout=60) == "cod bread"
    await status_is(app, handles[0].instance_id, Status.STUCK)
    instance = await app.get_instance(handles[0].instance_id)
    assert instance is not None
    assert "could not write it (ValueError)" in (instance.error or "")
    assert "sardine" not in (instance.error or "")

    broken.clear()
    await app.resume(handles[0].instance_id)

    assert await handles[0].result(timeout=60) == "sardine bread"


async def test_keys_out_of_reach_are_waited_for(open_app: Open) -> None:
    app = await open_app(codecs=[Particular()])
    handle = await app.start(coded_without_keys)
    await handle.signal(Word, "late")
    await until(lambda: carried_out == ["late"])
    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.3)
    with pytest.raises(StorageUnavailableError, match="out of reach"):
        await handle.signal(Word, "too late")

    broken.clear()

    assert await handle.result(timeout=60) == "late"
    assert carried_out == ["late"]


async def test_starting_twice_compares_what_was_said(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    first = await app.start(calls_coded_take.options(instance_id="once"), SECRET)

    assert (await app.start(calls_coded_take.options(instance_id="once"), SECRET)).instance_id == "once"
    with pytest.raises(InstanceConflictError, match="with another input"):
        await app.start(calls_coded_take.options(instance_id="once"), "something else")
    assert await first.result(timeout=60) == SECRET


async def test_managing_what_a_codec_wrote(open_app: Open, storage_url: str) -> None:
    app = await open_app(codecs=[compressing(), Masking()])
    broken.add("the step")
    for number in range(3):
        handle = await app.start(coded_saga.options(instance_id=f"saga-{number}"), "ada", number)
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)
    assert carried_out == ["ada", "put back ada"] * 3
    broken.clear()

    assert len(await app.retry_many({"name": "ada"})) == 3

    for number in range(3):
        assert await app.handle(f"saga-{number}", coded_saga).result(timeout=60) == "ada" + SECRET
    inputs = [instance.input async for instance in app.iter_instances({"name": "ada"})]
    assert inputs == [{"name": "ada", "left": 0}] * 3
    assert [] == [one async for one in app.iter_instances({"left": 0})], "it is not declared"
    assert SECRET.encode() not in await stored(storage_url)
    waiting = await app.start(coded_words, 1)
    assert await app.terminate(waiting.instance_id, reason="enough")
    await status_is(app, waiting.instance_id, Status.CANCELLED)
    assert len(await app.purge_many(everything=True)) == 4


@pytest.fixture
async def parked(storage_url: str, workflows: Known) -> None:
    """A parent and its child whose logs a codec wrote, parked by a worker with another key."""
    async with Romancy(storage_url, workflows=workflows, codecs=[Masking()]) as app:
        await app.start(coded_boss.options(instance_id="boss"))
        await status_is(app, "boss", Status.WAITING)
        await status_is(app, "words", Status.WAITING)
    another = Codecs(read_only=[Masking(b"another key")])
    async with Romancy(storage_url, workflows=workflows, codecs=another) as app:
        for instance_id in ("boss", "words"):
            await app.signal(instance_id, "wake up")
            await status_is(app, instance_id, Status.STUCK)


@pytest.mark.usefixtures("parked")
async def test_a_child_is_not_ended_by_somebody_who_cannot_tell_its_parent(open_app: Open) -> None:
    reader = await open_app(worker=False, codecs=[Masking()])
    before = await reader.history("words")
    stranger = await open_app(worker=False)

    with pytest.raises(UsageError, match="codecs of both"):
        await stranger.terminate("words")

    assert await reader.history("words") == before
    assert await reader.terminate("words", reason="enough")
    app = await open_app(codecs=[Masking()])
    await app.resume("boss")
    assert await app.handle("boss", coded_boss).result(timeout=60) == "no word came"


@pytest.mark.usefixtures("parked")
async def test_the_child_of_an_ended_parent_is_ended_without_the_codecs(open_app: Open) -> None:
    stranger = await open_app(worker=False)

    assert await stranger.terminate("boss")
    assert await stranger.terminate("words")

    assert {instance.status async for instance in stranger.iter_instances()} == {Status.CANCELLED}

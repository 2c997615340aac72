"""A worker empties the streams of what ended longer ago than `keep_streams=` says. Who reads on is told, or goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    StorageUnavailableError,
    StreamGoneError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    kept,
    workflow,
)
from romancy.managing import stream_tails
from romancy.retaining import passes, streamed
from romancy.retaining.passes import is_first
from romancy.retaining.streamed import EmptyingStreams
from romancy.storage.backends import create_store
from romancy.storage.services import Service
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.streaming import GO, TOKENS, chat, tries
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from romancy import StreamItem
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

NEXT_HOUR = -3_600_000_000
"""What ends within an hour has ended long enough ago, by any clock."""


@pytest.fixture(autouse=True)
def _wanted(storage_url: str) -> None:
    services_with(Service.JOURNAL, create_store(storage_url))


broken = set[str]()


@activity(retry=RetryPolicy.none())
async def said_or_not() -> None:
    stream = activity_context().stream(TOKENS)
    stream.write("said")
    await stream.flush()
    if activity_context().instance_id in broken:
        raise ConnectionResetError("by the provider")


@workflow
async def says_and_fails(ctx: WorkflowContext) -> None:
    await said_or_not()


def emptying(app: Romancy, kept_for: int = NEXT_HOUR) -> EmptyingStreams:
    access = app._access  # pyright: ignore[reportPrivateUsage] - the worker of an app has no public name
    assert access.worker is not None
    return EmptyingStreams(access.opened(), access.worker, kept_for, [chat.name, tries.name, says_and_fails.name])


async def read(items: AsyncIterator[StreamItem[str]]) -> list[StreamItem[str]]:
    return [item async for item in items]


async def goes_on_until(items: AsyncIterator[StreamItem[str]], data: str) -> None:
    async for item in items:
        if item.data == data:
            return


async def test_what_ended_loses_what_its_streams_hold(open_app: Open) -> None:
    app = await open_app(workflows=[chat, tries])
    done, goes_on = (
        await app.start(tries.options(instance_id="done")),
        await app.start(chat.options(instance_id="open")),
    )
    result = await done.result(timeout=60)
    before = await read(done.stream(TOKENS))
    await goes_on_until(goes_on.stream(TOKENS), "body again")

    assert await emptying(app, 3_600_000_000).look() == 0, "it ended a moment ago"
    assert result == kept(await read(done.stream(TOKENS)))
    assert await emptying(app).look() == 1
    assert await emptying(app).look() == 0

    assert [item.kind for item in await read(done.stream(TOKENS))] == ["end"]
    assert await read(done.stream(TOKENS, settled=True)) == []
    assert await app.streams_of("done") == []
    assert await done.result(timeout=60) == result
    assert await read(done.stream(TOKENS, after=before[-1].offset)) == []
    for item in before[:3]:
        with pytest.raises(StreamGoneError, match="keep_streams="):
            await read(done.stream(TOKENS, after=item.offset))
    assert (await app.get_instance("open")).status is not Status.COMPLETED  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess] - it is there
    assert await app.streams_of("open") == [TOKENS.name]


async def test_a_retry_goes_on_behind_what_was_removed(open_app: Open) -> None:
    app = await open_app(workflows=[says_and_fails])
    broken.add("r")
    handle = await app.start(says_and_fails.options(instance_id="r"))
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    before = await read(handle.stream(TOKENS))
    assert await emptying(app).look() == 1

    broken.clear()
    await app.retry("r")
    await handle.result(timeout=60)

    after = await read(handle.stream(TOKENS, after=before[-1].offset))
    assert [(item.kind, item.data) for item in after] == [("data", "said"), ("settled", None), ("end", None)]
    assert min(item.offset for item in after) > before[-1].offset
    assert after == await read(handle.stream(TOKENS))
    assert await emptying(app).look() == 1


async def test_who_has_read_all_lines_but_not_what_became_of_them_is_told(open_app: Open) -> None:
    """It would keep what an attempt has written that failed."""
    app = await open_app(workflows=[says_and_fails])
    broken.add("u")
    handle = await app.start(says_and_fails.options(instance_id="u"))
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    said, discard, end = await read(handle.stream(TOKENS))
    assert [said.kind, discard.kind, end.kind] == ["data", "discard", "end"]
    assert await emptying(app).look() == 1

    with pytest.raises(StreamGoneError, match="keep_streams="):
        await read(handle.stream(TOKENS, after=said.offset))
    assert [item.kind for item in await read(handle.stream(TOKENS, after=discard.offset))] == ["end"]
    assert await read(handle.stream(TOKENS, after=end.offset)) == []


async def test_who_was_stopped_amid_what_was_removed_is_told(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader without an offset, too, whose caller has not asked for the next item for a day."""
    monkeypatch.setattr(stream_tails, "LINES_AT_ONCE", 1)
    app = await open_app(workflows=[tries])
    handle = await app.start(tries.options(instance_id="s"))
    await handle.result(timeout=60)
    slow = handle.stream(TOKENS)
    assert (await anext(slow)).kind == "data"
    assert await emptying(app).look() == 1

    with pytest.raises(StreamGoneError, match="keep_streams="):
        await read(slow)


async def test_sealed_streams_are_emptied_by_who_cannot_read_them_and_go_on(open_app: Open) -> None:
    app = await open_app(workflows=[says_and_fails], codecs=[Masking()])
    broken.add("m")
    handle = await app.start(says_and_fails.options(instance_id="m"))
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    other = await open_app(workflows=[says_and_fails], keep_streams=None)
    assert await emptying(other).look() == 1

    broken.clear()
    await app.retry("m")
    await handle.result(timeout=60)

    assert kept(await read(handle.stream(TOKENS))) == ["said"]


async def test_what_was_emptied_moves_and_goes_on(open_app: Open, storage_url: str, tmp_path: Path) -> None:
    """The blank line moves with the instance, so a retry there writes behind what readers knew here."""
    services_with(Service.REBUILDING, create_store(storage_url))
    app = await open_app(workflows=[says_and_fails])
    broken.add("x")
    handle = await app.start(says_and_fails.options(instance_id="x"))
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)
    before = await read(handle.stream(TOKENS))
    assert await emptying(app).look() == 1
    assert (await app.export_instances(tmp_path / "file")).instances == 1
    assert await app.purge("x")

    await app.import_instances(tmp_path / "file")
    assert [item.kind for item in await read(handle.stream(TOKENS))] == ["end"]
    broken.clear()
    await app.retry("x")
    await handle.result(timeout=60)

    after = await read(handle.stream(TOKENS, after=before[-1].offset))
    assert [(item.kind, item.data) for item in after] == [("data", "said"), ("settled", None), ("end", None)]


async def test_the_first_worker_with_the_same_rules_does_it(open_app: Open) -> None:
    """One that keeps streams for ever is in nobody's way, whatever its token."""
    kept_for_ever = await open_app(workflows=[chat, tries], keep_streams=None)
    same = [await open_app(workflows=[chat, tries]) for _ in range(2)]
    handle = await kept_for_ever.start(tries)
    await handle.result(timeout=60)
    other, *both = [emptying(one) for one in (kept_for_ever, *same)]
    for one in (other, *both):
        await one.worker.leases.meet()

    assert [is_first(other.worker), sorted(is_first(one.worker) for one in both)] == [True, [False, True]]
    assert sorted([await one.look() for one in both]) == [0, 1]


async def test_a_pass_begins_behind_the_last_one(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_PAGE", 2)
    monkeypatch.setattr(passes, "_REST", 0.0)
    app = await open_app(workflows=[tries])
    for number in range(5):
        await (await app.start(tries.options(instance_id=f"t-{number}"))).result(timeout=60)
    task = emptying(app)

    assert await task.look() == 5
    assert await task.look() == 0
    for number in range(5):
        assert await app.streams_of(f"t-{number}") == []


async def test_a_workflow_that_cannot_be_searched_keeps_no_other_one_waiting(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await open_app(workflows=[tries])
    await (await app.start(tries.options(instance_id="t"))).result(timeout=60)
    task = emptying(app)

    def lost(store: Any, worker: Any, workflow: str, *rest: Any, **limits: Any) -> Any:
        if workflow == min(task._workflows):  # pyright: ignore[reportPrivateUsage]
            raise StorageUnavailableError("lost")
        return passes.ended_pages(store, worker, workflow, *rest, **limits)

    monkeypatch.setattr(streamed, "ended_pages", lost)
    with pytest.raises(StorageUnavailableError, match="lost"):
        await task.look()
    assert await app.streams_of("t") == []


async def test_an_end_that_was_committed_after_a_later_pass_is_found(open_app: Open) -> None:
    app = await open_app(workflows=[tries])
    task = emptying(app, -30_000_000)
    assert await task.look() == 0
    await (await app.start(tries.options(instance_id="late"))).result(timeout=60)

    assert await task.look() == 1, "it has ended before the time up to which the pass before has looked"


async def test_a_worker_looks_by_itself(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "_MOST_OFTEN", 0.01)
    app = await open_app(workflows=[tries], keep_streams=0.001)
    kept_for_ever = await open_app(workflows=[chat], keep_streams=None)
    await (await app.start(tries.options(instance_id="t"))).result(timeout=60)
    await kept_for_ever.start(chat.options(instance_id="c"))
    await app.signal("c", GO, "end")
    await app.handle("c").result(timeout=60)

    while await app.streams_of("t"):  # noqa: ASYNC110 - they are emptied without any news
        await asyncio.sleep(0.01)

    assert await app.streams_of("c") == [TOKENS.name]


@pytest.mark.parametrize("wrong", [0, -1, "1d", True])
def test_a_time_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises((UsageError, TypeError), match="keep_streams"):
        Romancy("memory://", keep_streams=wrong)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

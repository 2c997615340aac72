"""Streams: what a reader keeps is what the log has recorded, whoever fails, is killed or is cut off."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from romancy import (
    PayloadTooLargeError,
    QueryError,
    SerializationError,
    Stream,
    StreamGoneError,
    StreamItem,
    UsageError,
    WorkflowCancelledError,
    activity,
    activity_context,
    kept,
)
from romancy.storage.backends import create_store
from romancy.storage.services import Service
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.streaming import GO, TOKENS, answers, chat, reconnecting, tries
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy import Romancy

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

T = TypeVar("T")

SOON = 30.0


@pytest.fixture(autouse=True)
def _wanted(storage_url: str) -> None:
    services_with(Service.JOURNAL, create_store(storage_url))


@activity
async def writes_wrongly() -> list[str]:
    refused: list[str] = []
    wrong: list[tuple[Stream[Any], object]] = [(Stream("n", int), "x"), (Stream("t", str), "x" * 300_000)]
    for stream, data in wrong:
        try:
            activity_context().stream(stream).write(data)
        except (SerializationError, PayloadTooLargeError) as error:
            refused.append(type(error).__name__)
    return refused


calls_writes_wrongly = calling(writes_wrongly)


@activity
async def writes_in_a_session() -> bool:
    """Whether it could, with its session open."""
    stream = activity_context().stream(TOKENS)
    stream.write("before")
    await activity_context().session()
    try:
        stream.write("meanwhile")
    except UsageError:
        return False
    return True


calls_writes_in_a_session = calling(writes_in_a_session)


async def all_of(items: AsyncIterator[StreamItem[T]]) -> list[StreamItem[T]]:
    async with asyncio.timeout(SOON):
        return [item async for item in items]


def told(items: list[StreamItem[str]]) -> list[tuple[str, object]]:
    return [(item.kind, item.data or item.source) for item in items]


async def test_a_failed_attempt_is_discarded_and_an_end_settles(app: Romancy) -> None:
    handle = await app.start(tries.options(instance_id="t"))
    items = await all_of(handle.stream(TOKENS))
    result = await handle.result(timeout=SOON)
    assert [
        ("data", "attempt 1"), ("discard", "fails_once:1"), ("data", "attempt 2"), ("settled", "fails_once:1"),
        ("data", "thread 0"), ("data", "thread 1"), ("data", "thread 2"), ("settled", "on_a_thread:1"),
        ("data", "of a step"), ("settled", "steps:1"), ("end", ""),
    ] == told(items)  # fmt: skip
    assert result == kept(items) == ["attempt 2", "thread 0", "thread 1", "thread 2", "of a step"]
    assert result == [item.data for item in await all_of(handle.stream(TOKENS, settled=True))]
    assert items == await all_of(handle.stream(TOKENS, follow=False))
    for place, item in enumerate(items):
        assert told(items[place + 1 :]) == told(await all_of(handle.stream(TOKENS, after=item.offset)))
    assert sorted({item.offset for item in items}) == [item.offset for item in items]
    assert [] == kept(await all_of(handle.stream(Stream("other", int))))


@pytest.mark.timeout(120)
async def test_readers_keep_what_is_recorded_while_workers_are_killed(open_app: Open, storage_url: str) -> None:
    if storage_url.startswith("memory"):
        pytest.skip("capability: one process alone has this database")
    reader = await open_app(worker=False)
    handles = [await reader.start(answers.options(instance_id=f"a{number}"), 4, 40) for number in range(4)]
    reading = [
        asyncio.ensure_future(reconnecting(reader, handle.instance_id, settled=settled))
        for handle in handles
        for settled in (False, True)
    ]
    results = [asyncio.ensure_future(handle.result()) for handle in handles]
    kills = 0
    while not all(result.done() for result in results):
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "romancy_conformance.behaviour.streaming", storage_url
        )
        await asyncio.wait(results, timeout=1.5 if kills < 6 else 60.0)
        worker.kill()
        await worker.wait()
        kills += 1
    for place, result in enumerate(results):
        every, final = await reading[2 * place], await reading[2 * place + 1]
        assert await result == kept(every) == [item.data for item in final]
        for items in (every, final):
            assert [item.offset for item in items] == sorted({item.offset for item in items})


async def test_runs_and_retries_go_on_with_the_stream(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(chat.options(instance_id="c"))
    await app.signal("c", GO, "again")
    await app.signal("c", GO, "fail")
    following = await all_of(handle.stream(TOKENS))
    said = kept(following)
    assert ["body 1", "body again", "body 2", "body again"] == [text for text in said if text.startswith("body")]
    assert 10 == len(said)
    assert "end" == following[-1].kind
    assert [] == await all_of(handle.stream(TOKENS, after=following[-1].offset))
    await app.retry("c")  # what stands is not written again
    assert ["end"] == [item.kind for item in await all_of(handle.stream(TOKENS, after=following[-1].offset))]
    assert said == kept(await all_of(handle.stream(TOKENS)))
    final = await all_of(handle.stream(TOKENS, settled=True))
    assert said == [item.data for item in final]
    for place, item in enumerate(final):
        assert final[place + 1 :] == await all_of(handle.stream(TOKENS, settled=True, after=item.offset))


async def test_what_a_cancelled_attempt_wrote_stays(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(chat.options(instance_id="s"))
    await app.signal("s", GO, "wait")
    items: list[StreamItem[str]] = []
    async for item in handle.stream(TOKENS):
        items.append(item)
        if item.data == "partly":
            await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=SOON)
    assert "partly" == kept(items)[-1] == (await all_of(handle.stream(TOKENS, settled=True)))[-1].data


async def test_what_does_not_fit_is_refused_where_it_is_written(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(calls_writes_wrongly.options(instance_id="w"))
    assert ["SerializationError", "PayloadTooLargeError"] == await handle.result(timeout=SOON)
    with pytest.raises(QueryError, match="no offset"):
        await all_of(handle.stream(TOKENS, after="7"))


async def test_who_has_shut_out_all_other_writers_is_told(open_app: Open, storage_url: str) -> None:
    store = services_with(Service.SESSIONS, create_store(storage_url))
    assert Service.JOURNAL in store.offered
    app = await open_app()
    handle = await app.start(calls_writes_in_a_session.options(instance_id="h"))
    could = await handle.result(timeout=SOON)
    assert could is not storage_url.startswith(("sqlite", "memory"))
    assert ["before", "meanwhile"][: 1 + could] == kept(await all_of(handle.stream(TOKENS)))


async def test_an_offset_of_another_stream_or_life_is_refused(open_app: Open) -> None:
    app = await open_app()
    await (await app.start(tries.options(instance_id="x"))).result(timeout=SOON)
    offset = (await all_of(app.stream_of("x", TOKENS)))[0].offset
    with pytest.raises(StreamGoneError):
        await all_of(app.handle("x").stream("other", after=offset))
    await app.purge("x")
    handle = await app.start(tries.options(instance_id="x"))
    with pytest.raises(StreamGoneError):
        await all_of(handle.stream(TOKENS, after=offset))
    assert await handle.result(timeout=SOON) == kept(await all_of(handle.stream(TOKENS)))

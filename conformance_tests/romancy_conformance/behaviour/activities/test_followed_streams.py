"""However many follow the streams of one instance in a process, its log and its journal are read once for all."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventType, Stream, WorkflowContext, activity, activity_context, kept, workflow
from romancy.managing import stream_tails
from romancy.storage.backends import create_store
from romancy.storage.services import Service
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import StreamItem
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

WORDS = Stream("words", str)
GO = EventType("go", None)
FOLLOWERS = 60
TURNS, WORDS_OF_A_TURN = 4, 12
ALL = [f"{turn}.{number}" for turn in range(TURNS) for number in range(WORDS_OF_A_TURN)]


@pytest.fixture(autouse=True)
def _wanted(storage_url: str) -> None:
    services_with(Service.JOURNAL, create_store(storage_url))


@activity
async def speaks(turn: int) -> None:
    stream = activity_context().stream(WORDS)
    for number in range(WORDS_OF_A_TURN):
        stream.write(f"{turn}.{number}")
        await stream.flush()


@workflow
async def speaks_in_turns(ctx: WorkflowContext) -> None:
    for turn in range(TURNS):
        await speaks(turn)
    await ctx.wait_event(GO)


@workflow
async def speaks_when_asked(ctx: WorkflowContext, turns: int) -> None:
    for turn in range(turns):
        await ctx.wait_event(GO)
        await speaks(turn)


class Counting(WrappedStore):
    """A store that counts the calls of readers, and what they get."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.calls = self.rows = self.lines = 0
        self.called = asyncio.Event()
        self.services = store.services.wrapped(journal=self._counted)

    async def read(self, *given: Any, **options: Any) -> Any:
        found = await self._store.read(*given, **options)
        self._counts(0 if found is None else len(found.rows))
        return found

    async def until(self, calls: int) -> None:
        """Wait until there were so many calls."""
        while self.calls < calls:
            self.called.clear()
            await self.called.wait()

    def _counts(self, rows: int) -> None:
        self.calls += 1
        self.rows += rows
        self.called.set()

    def _counted(self, journal: Any) -> Any:
        async def written(*given: Any, **options: Any) -> Any:
            found = await journal.written(*given, **options)
            self.lines += len(found)
            self._counts(len(found))
            return found

        async def written_behind(*given: Any, **options: Any) -> Any:
            found = await journal.written_behind(*given, **options)
            lines = sum(len(behind.lines) for behind in found.values())
            self.lines += lines
            self._counts(lines)
            return found

        return SimpleNamespace(
            written=written, written_behind=written_behind, write=journal.write, put=journal.put, empty=journal.empty
        )


async def followed(items: AsyncIterator[StreamItem[str]]) -> list[StreamItem[str]]:
    return [item async for item in items]


@pytest.mark.timeout(120)
async def test_what_comes_is_read_once(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = wrap_stores(monkeypatch, Counting)
    other = await open_app(worker=False)
    handle = await other.start(speaks_in_turns)
    following = [
        asyncio.create_task(followed(handle.stream(WORDS, settled=bool(number % 2)))) for number in range(FOLLOWERS)
    ]
    await stores[0].until(2 * FOLLOWERS)
    begun, calls, rows = time.monotonic(), stores[0].calls, stores[0].rows
    app = await open_app()
    await app.signal(handle.instance_id, GO)
    for found in await asyncio.gather(*following):
        assert ALL == kept(found)
    looks = (time.monotonic() - begun) / 0.05
    written = len(ALL) + 3 * TURNS + 10  # rows of the journal, and commits of the log
    assert stores[0].rows - rows <= 2 * written, "sixty by themselves would read sixty times as many"
    assert stores[0].calls - calls <= 2 * looks + 3 * FOLLOWERS


@pytest.mark.timeout(120)
async def test_what_this_process_writes_is_not_read(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_tails, "_QUICKEST", 3600.0)
    monkeypatch.setattr(stream_tails, "_SLOWEST", 3600.0)
    stores = wrap_stores(monkeypatch, Counting)
    app = await open_app()
    handle = await app.start(speaks_when_asked, TURNS)
    followers = [handle.stream(WORDS, settled=settled) for settled in (False, True)]
    following = [asyncio.create_task(followed(follower)) for follower in followers]
    while not app._access.answers.awaiting:  # noqa: ASYNC110  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(0.01)  # nobody tells that it waits
    for _ in range(TURNS):
        await app.signal(handle.instance_id, GO)
    for found in await asyncio.gather(*following):
        assert ALL == kept(found)
    assert stores[0].lines <= len(ALL) / 2, "read for news of the log, a moment before they were handed over"


@activity
async def speaks_once(word: str) -> None:
    activity_context().stream(WORDS).write(word)


@workflow
async def speaks_when_told(ctx: WorkflowContext) -> None:
    await ctx.wait_event(GO)
    await speaks_once("hello")


@pytest.mark.timeout(120)
async def test_a_follower_hears_of_what_is_written_here_or_where_the_database_tells(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_tails, "_QUICKEST", 3600.0)  # who is not told waits longer than the test
    monkeypatch.setattr(stream_tails, "_SLOWEST", 3600.0)
    app, other = await open_app(), await open_app(worker=False)
    tells = storage_url.startswith("postgres")
    told = [app, other] if tells else [app]
    handle = await app.start(speaks_when_told)
    readers = [one.stream_of(handle.instance_id, WORDS) for one in told]
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    while not all(one._access.answers.awaiting for one in told):  # noqa: ASYNC110  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(0.01)  # nobody tells that it waits
    await app.signal(handle.instance_id, GO)
    assert ["hello"] * len(told) == [(await asyncio.wait_for(each, 60)).data for each in waiting]


@pytest.mark.timeout(120)
async def test_followers_who_begin_later_look_together(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = wrap_stores(monkeypatch, Counting)
    await open_app()
    other = await open_app(worker=False)
    handle = await other.start(speaks_in_turns)
    one = asyncio.create_task(followed(handle.stream(WORDS)))
    async for item in handle.stream(WORDS):
        if item.data == ALL[-1]:
            break
    before = stores[1].calls
    many = [asyncio.create_task(followed(handle.stream(WORDS))) for _ in range(FOLLOWERS)]
    await stores[1].until(before + 2 * FOLLOWERS)  # each has read by itself what there is
    begun = time.monotonic()
    await stores[1].until(stores[1].calls + 10)
    assert time.monotonic() - begun > 0.4, "ten looks of one; the sixty would have made them at once"
    await other.signal(handle.instance_id, GO)
    for found in await asyncio.gather(one, *many):
        assert ALL == kept(found)

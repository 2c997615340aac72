"""Readers of streams: whatever attempts, workers and runs do, and wherever a reader is cut off, it keeps the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pytest
from msgspec import Raw

from romancy import Status, Stream, StreamItem, kept
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    StreamWritten,
    WorkflowCompleted,
    WorkflowStarted,
    encode_commit,
)
from romancy.errors import QueryError
from romancy.managing.streams import items_of
from romancy.serialization import ErrorInfo
from romancy.storage.backends import create_store
from romancy.storage.journal import NewLine
from romancy.storage.records import Change, as_end
from romancy.stream_rows import StreamRow
from romancy_conformance.contract.building import Actor, append, step, unique

if TYPE_CHECKING:
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

NUMBERS: Final = Stream("numbers", int)
SOURCES: Final = ("a:1", "b:1", "c:1")


class Story:
    """An instance whose attempts write, fail, are lost, and end, at random."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.random = store, random.Random(seed)
        self.seq, self.count = 1, 0
        self.token = "t1"
        self.attempts: dict[str, tuple[int, str, bool]] = {}
        """Of each source that runs: its attempt, its worker, and whether it has written."""
        self.written: dict[str, list[int]] = {}
        self.final: list[int] = []
        """In any order."""

    async def begin(self) -> None:
        self.actor = await Actor(self.store, workflows={unique("w"): "c1"}).register()
        started = WorkflowStarted(1, "w", Raw(b"{}"), "n")
        self.first = await self.actor.begin(body=encode_commit([started]))
        self.head = self.first.writer

    async def commit(self, *events: LogEvent) -> None:
        self.seq += 1
        writer = f"{self.token}.{self.seq}"
        item = step(self.first, self.seq, encode_commit(list(events)), writer=writer, after=self.head)
        assert await self.actor.write(item) == "accepted"
        self.head = writer

    async def row(self, source: str, *values: int, stream: str = "numbers") -> None:
        attempt, writer, has_begun = self.attempts[source]
        raws = tuple(Raw(b"%d" % value) for value in values)
        row = StreamRow(stream, source, attempt, writer, self.seq, raws, begins=not has_begun)
        line = NewLine(self.first.instance_id, self.first.life, unique("m"), 1, row.stored(), self.actor.token)
        assert [] == (await self.store.services.journal.write([line])).refused
        if stream == "numbers":
            self.attempts[source] = attempt, writer, True

    async def goes_on(self) -> None:
        chance, source = self.random.random(), self.random.choice(SOURCES)
        running = self.attempts.get(source)
        if chance < 0.08:
            self.token = unique("t")  # a takeover: everything is lost, and only some of it is counted
            for each, (attempt, _, _) in list(self.attempts.items()):
                self.attempts[each] = attempt + self.random.randrange(2), self.token, False
                self.written[each] = []
        elif chance < 0.16:
            self.count += 1
            self.final.append(self.count)
            await self.commit(StreamWritten(f"stream:{self.count}", "numbers", Raw(b"%d" % self.count)))
        elif running is None:
            self.attempts[source], self.written[source] = (1, self.token, False), []
        elif chance < 0.7:
            values = range(self.count + 1, self.count + self.random.randrange(2, 5))
            self.count = values[-1]
            self.written[source] += values
            await self.row(source, *values)
        elif chance < 0.75:
            await self.row(source, 0, stream="other")
        elif chance < 0.85:
            await self.commit(ActivityAttemptFailed(1, source, running[0], ErrorInfo("E", "e"), 1))
            self.attempts[source], self.written[source] = (running[0] + 1, self.token, False), []
        else:
            await self.ends(source, how="unknown" if chance > 0.97 else "cancelled" if chance > 0.94 else "completed")

    async def ends(self, source: str, *, how: str) -> None:
        attempt, _, has_written = self.attempts.pop(source)
        written = self.written.pop(source)
        if how != "unknown":
            self.final += written
        cancelled = ActivityCancelled(1, source, streamed=attempt if has_written else 0)
        await self.commit(
            {
                "unknown": ActivityCancelled(1, source, unknown=True),
                "cancelled": cancelled,
                "completed": ActivityCompleted(1, source, attempt=attempt),
            }[how]
        )

    async def ends_all(self) -> None:
        self.seq += 1
        body = encode_commit([WorkflowCompleted(Raw(b"null"))])
        change = Change(status=Status.COMPLETED, seen=0)
        writer = as_end(f"{self.token}.{self.seq}")
        item = append(self.first, self.seq, body, writer=writer, after=self.head, change=change)
        assert await self.actor.write(item) == "accepted"


class Reader:
    """Reads what is there, and is cut off now and then."""

    def __init__(self, story: Story, *, settled: bool) -> None:
        self.story, self.settled = story, settled
        self.items: list[StreamItem[int]] = []

    async def looks(self) -> None:
        left = self.story.random.randrange(1, 12)
        reader = self.open()
        async for item in reader:
            self.items.append(item)
            left -= 1
            if not left:
                break
        await reader.aclose()

    def open(self) -> Any:
        after = self.items[-1].offset if self.items else None
        story = self.story
        return items_of(story.store, story.first.instance_id, NUMBERS, after, settled=self.settled)

    async def reads_the_rest(self) -> list[int]:
        self.items += [item async for item in self.open()]
        assert [item.offset for item in self.items] == sorted({item.offset for item in self.items})
        return kept(self.items) if not self.settled else [item.data for item in self.items]


@pytest.mark.parametrize("seed", range(12))
async def test_all_readers_keep_what_the_log_has_recorded(seed: int) -> None:
    store = create_store(f"memory://{unique('s')}")
    await store.open()
    try:
        story = Story(store, seed)
        await story.begin()
        readers = [Reader(story, settled=bool(number % 2)) for number in range(4)]
        for _ in range(120):
            await story.goes_on()
            await story.random.choice(readers).looks()
        await story.ends_all()
        for reader in [*readers, Reader(story, settled=False), Reader(story, settled=True)]:
            got = await reader.reads_the_rest()
            assert sorted(story.final) == sorted(got)
            if not reader.settled:
                assert sorted(got) == got
    finally:
        await store.close()


@pytest.mark.parametrize("after", ["", "17", 17])
async def test_what_is_no_offset_is_refused(after: Any) -> None:
    store = create_store(f"memory://{unique('s')}")
    await store.open()
    try:
        with pytest.raises(QueryError, match="no offset of a reader of all items"):
            await anext(items_of(store, "i-1", NUMBERS, after, settled=False))
    finally:
        await store.close()

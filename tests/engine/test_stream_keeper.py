"""What a worker holds of streams: bounded, written once, refused aloud."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from romancy.engine import stream_keeper
from romancy.engine.clock import DatabaseClock
from romancy.engine.incarnation import Incarnation
from romancy.engine.stream_keeper import MOST_STORED, MOST_WAITING, AttemptStreams, StreamKeeper
from romancy.errors import CodecError, StorageUnavailableError, StreamFullError, UsageError
from romancy.storage.journal import KeptLine, NewLine, Written, is_there
from romancy.stream_rows import StreamRow, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio


class Rows:
    """A journal in memory that can be away, and answers whose calls can be lost."""

    def __init__(self) -> None:
        self.lines: list[NewLine] = []
        self.calls = 0
        self.size = 0
        self.away = self.loses_answers = False
        self.error: Exception | None = None
        self.owner = "t"
        self.called = asyncio.Event()

    async def write(self, lines: Sequence[NewLine], /) -> Written:
        await asyncio.sleep(0)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.away:
            raise StorageUnavailableError("away")
        self.calls += 1
        self.called.set()
        last = self.lines[-1].mark if self.lines else None
        self.lines += [line for line in lines if not is_there(line.mark, last) and line.owner == self.owner]
        self.size += sum(len(line.body) for line in lines)
        if self.loses_answers:
            self.loses_answers = False
            raise StorageUnavailableError("who knows")
        refused = [line for line in lines if line.owner != self.owner]
        places = {line.mark: (number - 1, number) for number, line in enumerate(self.lines, 1) if line in lines}
        return Written(refused, {"i": self.size}, places)

    @property
    def rows(self) -> list[StreamRow]:
        found = (row_of(KeptLine(7, 1, line.mark, line.at, line.body)) for line in self.lines)
        return [row for row in found if row is not None]

    @property
    def values(self) -> list[bytes]:
        return [bytes(value) for row in self.rows for value in row.values]


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def keeper(rows: Rows) -> StreamKeeper:
    store: Any = SimpleNamespace(services=SimpleNamespace(journal=rows))
    return StreamKeeper(store, DatabaseClock(), Incarnation("t"), nobody)


def nobody(line: NewLine, row: StreamRow, before: int, number: int) -> None:
    """Follow nothing."""


def attempt(keeper: StreamKeeper, number: int = 1, source: str = "a:1") -> AttemptStreams:
    live: Any = SimpleNamespace(instance_id="i", life=7, head=3)
    return AttemptStreams(keeper, live, source, number)


async def test_all_streams_are_one_write_and_a_row_each(keeper: StreamKeeper, rows: Rows) -> None:
    many = [attempt(keeper, source=f"a:{number}") for number in range(50)]
    for _ in range(20):
        for each in many:
            each.of("s").write(b"1")
    await asyncio.gather(*(each.finish() for each in many))
    assert 1 == rows.calls
    assert [("s", f"a:{number}", 1, "t", 3, 20, True) for number in range(50)] == [
        (row.stream, row.source, row.attempt, row.writer, row.seen, len(row.values), row.begins) for row in rows.rows
    ]
    assert keeper._task is None  # pyright: ignore[reportPrivateUsage] - nothing runs while nothing is written


async def test_memory_is_bounded_while_the_database_is_away(
    keeper: StreamKeeper, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_keeper, "_AGAIN", 0.01)
    rows.away = True
    writing, item, count = attempt(keeper).of("s"), b'"%s"' % (b"x" * 100_000), 0
    with pytest.raises(StreamFullError, match="wait in this worker"):  # noqa: PT012 - until it is full
        while True:
            writing.write(item)
            count += 1
    assert MOST_WAITING - len(item) < count * len(item) <= MOST_WAITING
    rows.away = False
    await writing.flushed()
    assert [item] * count == rows.values
    writing.write(item)


async def test_an_instance_holds_so_much(keeper: StreamKeeper, rows: Rows) -> None:
    rows.size = MOST_STORED - 1000
    streams = attempt(keeper)
    streams.of("s").write(b"1")
    await streams.flushed()
    with pytest.raises(StreamFullError, match="the streams of instance i hold"):
        streams.of("other").write(b'"%s"' % (b"x" * 1000))


async def test_what_may_have_been_written_is_not_written_twice(
    keeper: StreamKeeper, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_keeper, "_AGAIN", 0.01)
    rows.loses_answers = True
    streams = attempt(keeper)
    streams.of("s").write(b"1")
    flushing = asyncio.ensure_future(streams.flushed())
    await rows.called.wait()
    streams.of("s").write(b"2")
    await flushing
    await streams.finish()
    assert [b"1", b"2"] == rows.values


async def test_who_does_not_own_the_instance_cannot_complete(keeper: StreamKeeper, rows: Rows) -> None:
    rows.owner = "another"
    streams = attempt(keeper)
    streams.of("s").write(b"1")
    with pytest.raises(StorageUnavailableError, match="has lost the instance"):
        await streams.finish()
    with pytest.raises(UsageError, match="after its attempt had ended"):
        streams.of("s").write(b"2")


async def test_what_cannot_be_sealed_fails_its_attempt(keeper: StreamKeeper, rows: Rows) -> None:
    rows.error = CodecError("no key")
    streams, other = attempt(keeper), attempt(keeper, source="a:2")
    streams.of("s").write(b"1")
    with pytest.raises(CodecError):
        await streams.finish()
    other.of("s").write(b"2")
    await other.finish()
    assert [b"2"] == rows.values


async def test_a_second_execution_of_the_same_number_voids_the_first_one(keeper: StreamKeeper, rows: Rows) -> None:
    first = attempt(keeper)
    first.of("s").write(b"1")
    await first.flushed()
    first.of("s").write(b"2")
    await first.give_up()
    again = attempt(keeper)
    await again.finish()
    assert [((b"1",), True), ((), True)] == [(tuple(map(bytes, row.values)), row.begins) for row in rows.rows]
    again.has_ended()
    third = attempt(keeper)
    await third.finish()
    assert 2 == len(rows.rows)


async def test_threads_write_to_one_stream(keeper: StreamKeeper, rows: Rows) -> None:
    streams = attempt(keeper)
    writing = streams.of("s")

    def write(name: int) -> None:
        for number in range(500):
            writing.write(b"%d" % (name * 1000 + number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await streams.finish()
    for name in range(4):
        mine = [int(value) for value in rows.values if int(value) // 1000 == name]
        assert list(range(name * 1000, name * 1000 + 500)) == mine


async def test_what_was_written_is_handed_over_with_its_place(rows: Rows) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(line: NewLine, row: StreamRow, before: int, number: int) -> None:
        assert line.body == row.stored()
        told.append((row.source, before, number))

    store: Any = SimpleNamespace(services=SimpleNamespace(journal=rows))
    keeper = StreamKeeper(store, DatabaseClock(), Incarnation("t"), tell)
    streams = [attempt(keeper, source=source) for source in ("a:1", "a:2")]
    for each in streams:
        each.of("s").write(b"1")
        await each.flushed()
    assert [("a:1", 0, 1), ("a:2", 1, 2)] == told
    rows.owner = "another"
    streams[0].of("s").write(b"2")
    with pytest.raises(StorageUnavailableError):
        await streams[0].flushed()
    assert 2 == len(told), "it was refused"


async def test_writes_for_which_nobody_waits_have_pauses(keeper: StreamKeeper, rows: Rows) -> None:
    writing, loop = attempt(keeper).of("s"), asyncio.get_running_loop()
    begun = loop.time()
    while rows.calls < 6:
        writing.write(b"1")
        await asyncio.sleep(0)
    assert loop.time() - begun >= 5 * 0.04, "at most 25 a second"
    await writing.flushed()

"""Lines wait in bounded memory, are written again after an outage, and never disturb who logs."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy import KeepLogs
from romancy.engine.clock import DatabaseClock
from romancy.engine.line_keeper import MOST_BYTES, MOST_LINES, LineKeeper
from romancy.errors import CodecError, StorageUnavailableError
from romancy.kept_logs import ERROR, MESSAGE, line_of
from romancy.storage.journal import LINES_AT_ONCE, Behind, KeptLine, NewLine, Written

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

OWNER = ("i", 7)


class Kept:
    """A journal in memory that can be away, and answers whose calls can be lost."""

    def __init__(self) -> None:
        self.rows: list[NewLine] = []
        self.sizes: list[int] = []
        self.away = self.loses_answers = False
        self.there = True
        self.error: Exception | None = None

    async def put(self, lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
        await asyncio.sleep(0)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.away:
            raise StorageUnavailableError("away")
        if not self.there:
            return [*lines]
        known = {row.mark for row in self.rows} if again else set[str]()
        self.sizes.append(len(lines))
        self.rows += [line for line in lines if line.mark not in known]
        if self.loses_answers:
            self.loses_answers = False
            raise StorageUnavailableError("who knows")
        return []

    async def lines(self, instance_id: str, /, *, after: tuple[int, int] = (0, 0), limit: int = 200) -> list[KeptLine]:
        return [KeptLine(7, number, row.mark, row.at, row.body) for number, row in enumerate(self.rows, 1)]

    newest = lines

    async def write(self, lines: Sequence[NewLine], /, *, again: bool = False) -> Written:
        raise AssertionError("nothing writes to streams")

    async def written(self, instance_id: str, life: int, /, *, after: int = 0, limit: int = 200) -> list[KeptLine]:
        raise AssertionError("nothing reads streams")

    async def written_behind(self, places: Sequence[tuple[str, int, int]], /, *, limit: int = 200) -> dict[str, Behind]:
        raise AssertionError("nothing reads streams")

    async def empty(self, instances: Sequence[tuple[str, int]], /, *, ended_until: int, blank: bytes) -> int:
        raise AssertionError("nothing empties streams")

    @property
    def messages(self) -> list[str]:
        return [line_of(KeptLine(7, 1, row.mark, row.at, row.body)).message for row in self.rows]


@pytest.fixture
def journal() -> Kept:
    return Kept()


@pytest.fixture
def keeper(journal: Kept) -> LineKeeper:
    return LineKeeper(journal, KeepLogs("INFO"), "w", DatabaseClock())


def record(message: object, *args: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("an.app", level, "", 0, message, args, None)


async def test_while_the_database_is_away_the_oldest_lines_are_dropped_and_counted(
    keeper: LineKeeper, journal: Kept
) -> None:
    journal.away = True
    for number in range(MOST_LINES + 500):
        keeper.keep(record("line %d", number), OWNER, 1)
    assert not await keeper.flushed()
    for number in range(100):
        keeper.keep(record("later %d", number), OWNER, 1)
    assert not await keeper.flushed()
    journal.away = False
    assert await keeper.flushed()

    said, rest = journal.messages[:1], journal.messages[1:]
    assert ["500 lines were dropped here: the database did not take them in time"] == said
    assert [f"line {number}" for number in range(500, MOST_LINES + 500)] == rest[:MOST_LINES]
    assert [f"later {number}" for number in range(100)] == rest[MOST_LINES:]
    assert max(journal.sizes) <= LINES_AT_ONCE + 1


async def test_long_lines_are_bounded_by_their_bytes(keeper: LineKeeper, journal: Kept) -> None:
    for _ in range(2 * MOST_BYTES // MESSAGE):
        keeper.keep(record("x" * 1_000_000), OWNER, 1)
    assert await keeper.flushed()

    assert sum(len(row.body) for row in journal.rows) <= MOST_BYTES + 1_000
    assert journal.messages[0].endswith(" lines were dropped here: the database did not take them in time")
    assert max(journal.sizes) < 200


async def test_what_may_have_been_written_is_not_written_twice(keeper: LineKeeper, journal: Kept) -> None:
    journal.loses_answers = True
    keeper.keep(record("one"), OWNER, 1)
    assert not await keeper.flushed()
    keeper.keep(record("two"), OWNER, 1)
    assert await keeper.flushed()

    assert ["one", "two"] == journal.messages


async def test_a_cancelled_write_is_done_again(keeper: LineKeeper, journal: Kept) -> None:
    keeper.keep(record("one"), OWNER, 1)
    writing = asyncio.ensure_future(keeper.flushed())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await keeper.flushed()

    assert ["one"] == journal.messages


async def test_lines_wait_for_the_first_row_of_their_instance(keeper: LineKeeper, journal: Kept) -> None:
    journal.there = False
    keeper.keep(record("one"), OWNER, 1)
    assert not await keeper.flushed()
    keeper.keep(record("two"), OWNER, 1)
    journal.there = True
    assert await keeper.flushed()

    assert ["one", "two"] == journal.messages


async def test_lines_without_an_instance_hold_up_no_others(keeper: LineKeeper, journal: Kept) -> None:
    journal.there = False
    for number in range(3 * LINES_AT_ONCE):
        keeper.keep(record("nobody %d", number), ("nobody", 1), 1)
    assert not await keeper.flushed()
    keeper.keep(record("mine"), OWNER, 1)
    journal.there = True
    assert await keeper.flushed()

    assert "mine" == journal.messages[-1]
    assert LINES_AT_ONCE + 1 == len(journal.rows)


async def test_what_cannot_be_written_is_given_up_and_said(
    keeper: LineKeeper, journal: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    journal.error = CodecError("no key")
    keeper.keep(record("one"), OWNER, 1)
    assert await keeper.flushed()
    keeper.keep(record("two"), OWNER, 1)
    assert await keeper.flushed()

    assert ["two"] == journal.messages
    assert ["1 log lines cannot be kept: no key"] == [one.getMessage() for one in caplog.records]


async def test_lines_come_from_any_thread(keeper: LineKeeper, journal: Kept) -> None:
    def speak(name: int) -> None:
        for number in range(500):
            keeper.keep(record("%d %d", name, number), OWNER, 1)

    threads = [threading.Thread(target=speak, args=(name,)) for name in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        await keeper.flushed()
    assert await keeper.flushed()

    for name in range(4):
        mine = [text for text in journal.messages if text.startswith(f"{name} ")]
        assert [f"{name} {number}" for number in range(500)] == mine
    assert 2000 == len({row.mark for row in journal.rows})


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = object.__repr__


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("a\0b", (), "a\0b"),
        ("half \ud83d", (), "half \\ud83d"),
        ("\x1b[31mred", (), "\x1b[31mred"),
        ("x" * 1_000_000, (), "x" * MESSAGE + "… (cut: it has 1,000,000 characters)"),
        ("%d", ("text",), "'%d' (its arguments do not fit: TypeError)"),
        ("%s", (Hostile(),), "'%s' (its arguments do not fit: RuntimeError)"),
    ],
)
async def test_hostile_texts(
    keeper: LineKeeper, journal: Kept, message: object, args: tuple[object, ...], expected: str
) -> None:
    keeper.keep(record(message, *args), OWNER, 1)
    assert await keeper.flushed()

    assert [expected] == journal.messages
    assert all(msgspec.json.decode(row.body) for row in journal.rows)


async def test_a_long_traceback_keeps_its_end(keeper: LineKeeper, journal: Kept) -> None:
    try:
        raise ValueError("y" * 100_000 + " the end")
    except ValueError as error:
        said = logging.LogRecord(
            "an.app", logging.ERROR, "", 0, "it fails", (), (ValueError, error, error.__traceback__)
        )
    keeper.keep(said, OWNER, 1)
    assert await keeper.flushed()

    (line,) = await journal.lines("i")
    error_text = str(line_of(line).error)
    assert error_text.endswith(" the end")
    assert len(error_text) < ERROR + 100


async def test_a_line_below_the_level_is_not_kept(keeper: LineKeeper, journal: Kept) -> None:
    keeper.keep(record("debug", level=logging.DEBUG), OWNER, 1)
    assert await keeper.flushed()

    assert [] == journal.rows

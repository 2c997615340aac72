"""What a tail holds for its followers: rows of this process at once, others by a look, each once and in order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from romancy.engine import Answers
from romancy.managing.stream_tails import Tail
from romancy.storage.journal import Behind, KeptLine, NewLine
from romancy.stream_rows import StreamRow

pytestmark = pytest.mark.anyio

LIFE, LAST = 7, 3


class Journal:
    """Rows of one instance, as looks find them."""

    store: Any = None

    def __init__(self) -> None:
        self.lines: list[KeptLine] = []
        self.looks = 0
        self.looking, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()

    def write(self, count: int = 1) -> list[tuple[NewLine, StreamRow, int, int]]:
        """Write rows, and return what the tail of the process that does so is told of each."""
        told: list[tuple[NewLine, StreamRow, int, int]] = []
        for _ in range(count):
            row = StreamRow("s", "a:1", 1, "w", LAST)
            number = 10 * len(self.lines) + 1
            line = NewLine("i", LIFE, f"w-{number}", 0, row.stored(), "w")
            told.append((line, row, self.lines[-1].number if self.lines else 0, number))
            self.lines.append(KeptLine(LIFE, number, line.mark, 0, line.body))
        return told

    async def behind(self, _: str, life: int, number: int) -> Behind:
        self.looks += 1
        found = [line for line in self.lines if line.number > number]
        self.looking.set()
        await self.answers.wait()
        return Behind(life, LAST, found)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def tail(journal: Journal, answers: Answers) -> Tail:
    tail = answers.tails["i"] = Tail(journal, "i", answers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    instance: Any = SimpleNamespace(instance_id="i", life=LIFE)
    tail.has_read(instance, LAST, 0)
    return tail


def numbers(tail: Tail, after: int = 0) -> list[int]:
    return [written.line.number for written in tail.written_behind(after)]


async def test_a_row_of_this_process_is_there_without_a_look(tail: Tail, journal: Journal, answers: Answers) -> None:
    waiting = asyncio.ensure_future(tail.next_look(tail.looks))
    await asyncio.sleep(0)
    for told in journal.write(3):
        answers.streamed(*told)
    await waiting
    assert [1, 11, 21] == numbers(tail)
    assert [21] == numbers(tail, 11)
    assert 0 == journal.looks
    assert tail.covers(LIFE, LAST, 21)


async def test_a_row_behind_one_that_is_missing_is_looked_for(tail: Tail, journal: Journal, answers: Answers) -> None:
    waiting = asyncio.ensure_future(tail.next_look(tail.looks))
    await asyncio.sleep(0)
    journal.write(2)  # by another process
    answers.streamed(*journal.write()[0])
    await waiting
    assert [1, 11, 21] == numbers(tail)
    assert 1 == journal.looks


async def test_a_row_that_comes_while_somebody_looks_is_held_once(
    tail: Tail, journal: Journal, answers: Answers
) -> None:
    journal.answers.clear()
    waiting = asyncio.ensure_future(tail.next_look(tail.looks))
    answers.tell("i")
    first = journal.write(2)
    await journal.looking.wait()
    for told in (*first, *journal.write(2)):
        answers.streamed(*told)
    journal.answers.set()
    await waiting
    assert [1, 11, 21, 31] == numbers(tail)


async def test_a_row_of_another_life_is_looked_for(tail: Tail, journal: Journal) -> None:
    line, row, before, number = journal.write()[0]
    assert not tail.take(line._replace(life=LIFE + 1), row, before, number)
    assert tail.take(line, row, before, number)
    assert not tail.take(line, row, before, number), "twice"


async def test_news_of_the_log_are_looked_at_beside_rows_of_this_process(
    tail: Tail, journal: Journal, answers: Answers
) -> None:
    waiting = asyncio.ensure_future(tail.next_look(tail.looks))
    await asyncio.sleep(0)
    answers.streamed(*journal.write()[0])
    answers.tell("i")
    await waiting
    assert 1 == journal.looks

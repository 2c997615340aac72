"""Who looks for what streams hold at the same time asks once, and each gets all of its own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy.errors import StorageUnavailableError
from romancy.managing.stream_looks import StreamLooks
from romancy.storage.journal import Behind, KeptLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


class Lines:
    """The lines of some instances, and what was asked."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts
        self.asked: list[list[tuple[str, int, int]]] = []
        self.error: Exception | None = None
        self.is_asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    def behind(self, instance_id: str, life: int, after: int) -> list[KeptLine]:
        return [KeptLine(life, number, "m", 0, b"") for number in range(after + 1, self.counts[instance_id] + 1)]

    async def written_behind(self, places: Sequence[tuple[str, int, int]], /, *, limit: int) -> dict[str, Behind]:
        self.asked.append([*places])
        self.is_asked.set()
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return {place[0]: Behind(7, 3, self.behind(*place)) for place in places if place[0] in self.counts}


def looks_at(lines: Lines) -> StreamLooks:
    return StreamLooks(cast("Store", SimpleNamespace(services=SimpleNamespace(journal=lines))))


def numbers(found: Behind | None) -> list[int]:
    assert found is not None
    return [line.number for line in found.lines]


async def test_those_who_look_at_the_same_time_ask_once() -> None:
    lines = Lines(**{f"i{number}": number for number in range(150)})
    looks = looks_at(lines)
    found = await asyncio.gather(*(looks.behind(f"i{number}", 7, number // 2) for number in range(150)))
    assert [list(range(number // 2 + 1, number + 1)) for number in range(150)] == list(map(numbers, found))
    assert 1 == len(lines.asked)
    assert [] == numbers(await looks.behind("i3", 7, 3))
    assert 2 == len(lines.asked)


async def test_those_who_look_while_the_database_answers_are_asked_for_together() -> None:
    lines = Lines(a=1, b=2, c=3)
    lines.answers.clear()
    looks = looks_at(lines)
    first = asyncio.ensure_future(looks.behind("a", 7, 0))
    await lines.is_asked.wait()
    others = [asyncio.ensure_future(looks.behind(one, 7, 0)) for one in "bcb"]
    await asyncio.sleep(0)
    lines.answers.set()
    assert [[1], [1, 2], [1, 2, 3], [1, 2]] == list(map(numbers, await asyncio.gather(first, *others)))
    assert [["a"], ["b", "c"]] == [[one for one, *_ in asked] for asked in lines.asked]


async def test_for_whom_there_is_no_answer_is_told_so() -> None:
    looks = looks_at(Lines(a=1))
    found = await asyncio.gather(looks.behind("a", 7, 0), looks.behind("b", 7, 0))
    assert [1] == numbers(found[0])
    assert found[1] is None


async def test_each_of_them_is_told_that_the_database_is_away() -> None:
    lines = Lines(a=1, b=2)
    lines.error = StorageUnavailableError("away")
    looks = looks_at(lines)
    found = await asyncio.gather(looks.behind("a", 7, 0), looks.behind("b", 7, 0), return_exceptions=True)
    assert [StorageUnavailableError] * 2 == [type(one) for one in found]
    lines.error = None
    assert [1] == numbers(await looks.behind("a", 7, 0))


async def test_one_who_gives_up_leaves_the_others_their_answers() -> None:
    lines = Lines(a=1, b=2)
    lines.answers.clear()
    looks = looks_at(lines)
    gives_up, stays = (asyncio.ensure_future(looks.behind(one, 7, 0)) for one in "ab")
    await lines.is_asked.wait()
    gives_up.cancel()
    lines.answers.set()
    assert [1, 2] == numbers(await stays)
    ended: Any = (await asyncio.gather(gives_up, return_exceptions=True))[0]
    assert isinstance(ended, asyncio.CancelledError)

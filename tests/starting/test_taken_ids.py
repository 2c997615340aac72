"""Starts with chosen ids that begin in one turn of the event loop share one look whether the ids are taken."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from romancy.errors import StorageUnavailableError
from romancy.starting.asking import TakenIds
from romancy.storage.rooms import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


class Lookups:
    """Ids of which `old` ones are taken, and what was asked. An answer comes when it is `allowed`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.is_asked, self.allowed = asyncio.Event(), asyncio.Event()
        self.allowed.set()
        self.fails = False

    async def taken_ids(self, instance_ids: Sequence[str]) -> set[str]:
        self.asked.append(list(instance_ids))
        self.is_asked.set()
        await self.allowed.wait()
        if self.fails:
            raise StorageUnavailableError("away")
        return {one for one in instance_ids if one.startswith("old")}

    @property
    def store(self) -> Store:
        return cast("Store", SimpleNamespace(rooms=SimpleNamespace(offered={Room.LOOKUPS}, lookups=self)))


async def test_callers_of_one_turn_ask_once() -> None:
    lookups, taken = Lookups(), TakenIds()

    answers = await asyncio.gather(*(taken.among(lookups.store, [f"old{n}", f"new{n}"]) for n in range(3)))

    assert lookups.asked == [["old0", "new0", "old1", "new1", "old2", "new2"]]
    assert [f"old{n}" in answer and f"new{n}" not in answer for n, answer in enumerate(answers)] == [True] * 3


async def test_a_later_caller_gets_an_answer_of_its_own() -> None:
    lookups, taken = Lookups(), TakenIds()
    lookups.allowed.clear()
    first = asyncio.create_task(taken.among(lookups.store, ["new"]))
    await lookups.is_asked.wait()

    second = asyncio.create_task(taken.among(lookups.store, ["new"]))
    await asyncio.sleep(0)
    lookups.allowed.set()

    await asyncio.gather(first, second)
    assert lookups.asked == [["new"], ["new"]]


async def test_many_ids_are_asked_in_several_statements() -> None:
    lookups = Lookups()

    await TakenIds().among(lookups.store, [str(n) for n in range(2500)])

    assert [len(asked) for asked in lookups.asked] == [1000, 1000, 500]


async def test_without_ids_nothing_is_asked() -> None:
    lookups = Lookups()

    assert not await TakenIds().among(lookups.store, [])
    assert lookups.asked == []


async def test_an_error_reaches_all_callers() -> None:
    lookups, taken = Lookups(), TakenIds()
    lookups.fails = True

    answers = await asyncio.gather(*(taken.among(lookups.store, [str(n)]) for n in range(2)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [StorageUnavailableError] * 2


async def test_a_caller_that_gives_up_disturbs_no_other() -> None:
    lookups, taken = Lookups(), TakenIds()
    lookups.allowed.clear()
    callers = [asyncio.create_task(taken.among(lookups.store, [f"old{n}"])) for n in range(2)]
    await lookups.is_asked.wait()

    callers[0].cancel()
    await asyncio.wait({callers[0]})
    lookups.allowed.set()

    assert "old1" in await callers[1]
    assert callers[0].cancelled()

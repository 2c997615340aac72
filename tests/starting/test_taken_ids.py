"""Starts with chosen ids that begin in one turn of the event loop share one look whether the ids are taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.errors import StorageUnavailableError
from romancy.starting import submissions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy import Handle

pytestmark = pytest.mark.anyio

ran: list[str] = []


@workflow
async def looked_up(ctx: WorkflowContext, text: str) -> str:
    ran.append(ctx.instance_id)
    return text


class Lookups:
    """What was asked. An answer comes when it is `allowed`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.is_asked, self.allowed = asyncio.Event(), asyncio.Event()
        self.allowed.set()
        self.error: Exception | None = None

    async def taken_ids_of(self, _: object, instance_ids: Sequence[str]) -> set[str]:
        self.asked.append(list(instance_ids))
        self.is_asked.set()
        await self.allowed.wait()
        if self.error is not None:
            raise self.error
        return {one for one in instance_ids if one.startswith("old")}


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    ran.clear()
    made = Lookups()
    monkeypatch.setattr(submissions, "taken_ids_of", made.taken_ids_of)
    return made


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[looked_up]) as app:
        await app.run(looked_up, "")
        yield app


def starting(app: Romancy, *ids: str) -> list[asyncio.Task[Handle[str]]]:
    return [asyncio.create_task(app.start(looked_up.options(instance_id=one), "x")) for one in ids]


async def test_callers_of_one_turn_ask_once(app: Romancy, lookups: Lookups) -> None:
    await asyncio.gather(*starting(app, "a", "b", "c", "d"))

    assert lookups.asked == [["a"], ["b", "c", "d"]]  # the first one was alone when it came
    assert ran == ["a", "b", "c", "d"]


async def test_a_later_caller_gets_an_answer_of_its_own(app: Romancy, lookups: Lookups) -> None:
    lookups.allowed.clear()
    (first,) = starting(app, "a")
    await lookups.is_asked.wait()
    lookups.is_asked.clear()
    (second,) = starting(app, "b")
    await lookups.is_asked.wait()
    lookups.allowed.set()

    await asyncio.gather(first, second)
    assert lookups.asked == [["a"], ["b"]]


async def test_many_ids_are_asked_in_several_statements(app: Romancy, lookups: Lookups) -> None:
    await app.start_many([looked_up.options(instance_id=str(number)).bind("x") for number in range(2500)])

    assert [len(asked) for asked in lookups.asked] == [1000, 1000, 500]


async def test_without_chosen_ids_nothing_is_asked(app: Romancy, lookups: Lookups) -> None:
    await asyncio.gather(*[app.start(looked_up, "x") for _ in range(3)])

    assert lookups.asked == []


async def test_without_an_answer_the_starts_are_written_without_running_code(app: Romancy, lookups: Lookups) -> None:
    lookups.error = StorageUnavailableError("away")

    handles = await asyncio.gather(*starting(app, "a", "b", "c"))

    assert [await handle.result(timeout=60) for handle in handles] == ["x"] * 3


async def test_an_error_reaches_all_callers(app: Romancy, lookups: Lookups) -> None:
    lookups.error = ValueError("broken")

    answers = await asyncio.gather(*starting(app, "a", "b", "c"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [ValueError] * 3


async def test_a_caller_that_gives_up_disturbs_no_other(app: Romancy, lookups: Lookups) -> None:
    lookups.allowed.clear()
    callers = starting(app, "a", "b", "c")
    await lookups.is_asked.wait()
    lookups.is_asked.clear()
    await lookups.is_asked.wait()

    callers[1].cancel()
    await asyncio.wait({callers[1]})
    lookups.allowed.set()

    assert (await callers[2]).instance_id == "c"
    assert callers[1].cancelled()
    assert "b" not in ran

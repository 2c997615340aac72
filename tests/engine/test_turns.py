"""Callers go through in turns of the event loop: so many in one turn, in their order."""

from __future__ import annotations

import asyncio

import pytest

from romancy.engine.turns import Turns

pytestmark = pytest.mark.anyio

AT_ONCE = 10


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Seen:
    """Callers that went through, and how many did so in each turn."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.through: list[int] = []

    async def call(self, number: int) -> None:
        if not self.turns.take():
            await self.turns.wait()
        self.through.append(number)

    async def by_turn(self, tasks: list[asyncio.Task[None]]) -> list[int]:
        """Return how many went through in each turn until all tasks are done, without turns in which nobody did."""
        counts: list[int] = []
        while not all(task.done() for task in tasks):
            before = len(self.through)
            await asyncio.sleep(0)
            counts.append(len(self.through) - before)
        return [count for count in counts if count]


@pytest.fixture
def seen() -> Seen:
    return Seen(Turns(AT_ONCE))


def calling(seen: Seen, numbers: range) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(seen.call(number)) for number in numbers]


async def test_so_many_go_through_in_one_turn_and_in_order(seen: Seen) -> None:
    tasks = calling(seen, range(35))

    assert await seen.by_turn(tasks) == [10, 10, 10, 5]
    assert seen.through == list(range(35))


async def test_those_who_come_later_go_through_later(seen: Seen) -> None:
    tasks = calling(seen, range(15))
    await asyncio.sleep(0)
    tasks += calling(seen, range(15, 18))
    await asyncio.sleep(0)
    tasks += calling(seen, range(18, 30))

    await asyncio.gather(*tasks)

    assert seen.through == list(range(30))


async def test_one_caller_after_another_never_waits(seen: Seen) -> None:
    for _ in range(100):
        assert seen.turns.take()
        await asyncio.sleep(0)


async def test_a_caller_for_many_has_the_turn_to_itself(seen: Seen) -> None:
    order: list[str] = []

    async def many() -> None:
        await seen.turns.wait(3 * AT_ONCE)
        order.append("many")

    async def one() -> None:
        await seen.turns.wait()
        order.append("one")

    onlooker: list[int] = []
    tasks = [asyncio.create_task(caller()) for caller in (one, many, one, many)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        onlooker.append(len(order))

    assert order == ["one", "many", "one", "many"]
    assert {2, 4} <= set(onlooker)
    assert not {1, 3} & set(onlooker)


async def test_a_caller_who_gives_up_leaves_the_turn_to_others(seen: Seen) -> None:
    tasks = calling(seen, range(35))
    await asyncio.sleep(0)
    for task in tasks[12:32]:
        task.cancel()

    assert await seen.by_turn(tasks) == [5]  # ten went through before, and those without the cancelled fit one turn
    assert seen.through == [*range(12), *range(32, 35)]
    assert seen.turns.take()


async def test_a_caller_who_gives_up_when_its_turn_has_come(seen: Seen) -> None:
    tasks = calling(seen, range(15))
    while vars(seen.turns)["_waiting"]:  # noqa: ASYNC110 - the test looks in each turn
        await asyncio.sleep(0)  # until the renewal has woken them; they have not run yet
    tasks[12].cancel()

    await asyncio.gather(*tasks, return_exceptions=True)

    assert seen.through == [*range(12), 13, 14]
    assert await seen.by_turn(calling(seen, range(20, 32))) == [10, 2]


async def test_those_who_wait_learn_that_nobody_goes_through_any_more(seen: Seen) -> None:
    tasks = calling(seen, range(15))
    await asyncio.sleep(0)
    tasks[14].cancel()

    seen.turns.close(ValueError("closed"))
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert seen.through == list(range(10))
    assert [type(answer) for answer in answers[10:]] == [ValueError] * 4 + [asyncio.CancelledError]
    assert await seen.by_turn(calling(seen, range(20, 25))) == [5]

"""What a plain step costs this process: calls of Romancy's own functions, counted on every database.

The count is the median of the differences between one step and the next. What a worker does by the clock (a look at the
file, a heartbeat, a claim) falls into a few steps only, however slow the machine is.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.costs.own_calls import OwnCalls, assume_a_fast_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

STEPS = 200
ROUNDS = 3
LEAST = 40
"""With fewer calls, nothing was counted."""
MOST = {"sqlite": 68, "postgres": 74, "mysql": 98, "mariadb": 98}
ON_THE_WRITERS_THREAD = 99
"""The most on SQLite where commits are so slow that a separate thread makes them."""
AT_ONCE = 400
MOST_OF_A_START = {"sqlite": 125, "postgres": 128, "mysql": 205, "mariadb": 205}
"""Of a workflow without steps, from its start to its result, when many begin at once."""


counts: list[int] = []
"""The calls so far, at the beginning of each step."""
counting: list[OwnCalls] = []


@activity
async def counted_step(number: int) -> int:
    counts.append(counting[-1].count)
    return number


@workflow
async def counted_line(ctx: WorkflowContext, steps: int) -> int:
    return sum([await counted_step(number) for number in range(steps)])


@pytest.fixture
def own_calls() -> Iterator[OwnCalls]:
    counted = OwnCalls()
    counting[:] = [counted]
    with counted.on():
        yield counted


async def calls_of_a_step(app: Romancy) -> float:
    await app.run(counted_line, 50)  # one-time work is done here
    counts.clear()
    assert await app.run(counted_line, STEPS) == sum(range(STEPS))
    calls = median([after - before for before, after in pairwise(counts)])
    print(f"own calls a step: {calls}")
    assert calls > LEAST
    return calls


@pytest.mark.usefixtures("own_calls")
async def test_a_plain_step(backend: str, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assume_a_fast_machine(backend, monkeypatch)
    async with Romancy(storage_url, workflows=[counted_line]) as app:
        assert await calls_of_a_step(app) <= MOST[backend]


async def test_starts_at_once(
    own_calls: OwnCalls, backend: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "sqlite":  # there, callers at once leave the commits to the writer's thread
        assume_a_fast_machine(backend, monkeypatch)
    async with Romancy(storage_url, workflows=[counted_line]) as app:

        async def one() -> None:
            assert await app.run(counted_line, 0) == 0

        costs: list[float] = []
        while len(costs) < ROUNDS and (len(costs) < 2 or costs[-1] > MOST_OF_A_START[backend]):
            before = own_calls.count
            await asyncio.gather(*[one() for _ in range(AT_ONCE)])
            costs.append((own_calls.count - before) / AT_ONCE)
    print(f"own calls a workflow without steps: {costs}")

    assert LEAST < costs[-1] <= MOST_OF_A_START[backend]


@pytest.mark.long
@pytest.mark.backends("sqlite")
@pytest.mark.usefixtures("own_calls")
async def test_a_plain_step_on_a_slow_disk(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy_sqlite._writer._INLINE_LIMIT", -1.0)
    async with Romancy(storage_url, workflows=[counted_line]) as app:
        assert await calls_of_a_step(app) <= ON_THE_WRITERS_THREAD

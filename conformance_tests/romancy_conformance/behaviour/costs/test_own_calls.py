"""What a plain step costs this process: calls of Romancy's own functions, counted on every database.

The slope between two lengths of one workflow excludes its start and its end. Each bound is half a call above the count,
which is never whole: what a worker does by the clock (a look at the file, a heartbeat, a claim) is 10 to 60 calls, and
the slower the machine, the more often it falls into the 400 steps between the two lengths.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.costs.own_calls import OwnCalls

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

FEW, MANY = 200, 600
ROUNDS = 3
LEAST = 40
"""With fewer calls, nothing was counted."""
MOST = {"sqlite": 68.5, "postgres": 74.5, "mysql": 99.5, "mariadb": 99.5}
"""MySQL and MariaDB also count the periodic look at the inbox."""
ON_THE_WRITERS_THREAD = 101.5
"""The most on SQLite where commits are so slow that a separate thread makes them."""
AT_ONCE = 400
MOST_OF_A_START = {"sqlite": 125, "postgres": 128, "mysql": 200, "mariadb": 200}
"""Of a workflow without steps, from its start to its result, when many begin at once."""


@activity
async def counted_step(number: int) -> int:
    return number


@workflow
async def counted_line(ctx: WorkflowContext, steps: int) -> int:
    return sum([await counted_step(number) for number in range(steps)])


@pytest.fixture
def own_calls() -> Iterator[OwnCalls]:
    counted = OwnCalls()
    with counted.on():
        yield counted


async def within(most: float, own_calls: OwnCalls, app: Romancy) -> list[float]:
    """Return the slopes up to the first that is within the bound."""

    async def calls_of(steps: int) -> int:
        before = own_calls.count
        assert await app.run(counted_line, steps) == sum(range(steps))
        return own_calls.count - before

    await calls_of(50)  # one-time work is done here
    slopes: list[float] = []
    while len(slopes) < ROUNDS and (not slopes or slopes[-1] > most):
        slopes.append((await calls_of(MANY) - await calls_of(FEW)) / (MANY - FEW))
    print(f"own calls a step: {slopes}")
    assert min(slopes) > LEAST
    return slopes


async def test_a_plain_step(
    own_calls: OwnCalls, backend: str, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "sqlite":  # the pace of the disk decides which thread commits: assume a fast one
        monkeypatch.setattr("romancy_sqlite._writer._INLINE_LIMIT", float("inf"))
    async with Romancy(storage_url, workflows=[counted_line]) as app:
        slopes = await within(MOST[backend], own_calls, app)

    assert slopes[-1] <= MOST[backend]


async def test_starts_at_once(own_calls: OwnCalls, backend: str, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[counted_line]) as app:

        async def one() -> None:
            assert await app.run(counted_line, 0) == 0

        counts: list[float] = []
        while len(counts) < ROUNDS and (len(counts) < 2 or counts[-1] > MOST_OF_A_START[backend]):
            before = own_calls.count
            await asyncio.gather(*[one() for _ in range(AT_ONCE)])
            counts.append((own_calls.count - before) / AT_ONCE)
    print(f"own calls a workflow without steps: {counts}")

    assert LEAST < counts[-1] <= MOST_OF_A_START[backend]


@pytest.mark.long
@pytest.mark.backends("sqlite")
async def test_a_plain_step_on_a_slow_disk(
    own_calls: OwnCalls, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romancy_sqlite._writer._INLINE_LIMIT", -1.0)
    async with Romancy(storage_url, workflows=[counted_line]) as app:
        slopes = await within(ON_THE_WRITERS_THREAD, own_calls, app)

    assert slopes[-1] <= ON_THE_WRITERS_THREAD

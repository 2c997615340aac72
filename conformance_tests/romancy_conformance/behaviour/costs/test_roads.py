"""What the roads beside a step cost this process: calls of Romancy's own functions, counted on every database.

The start of one that waits; a signal, until the result is there; an event with a key, until the result is there.
The median of several says what one costs: a heartbeat or a sweep falls into a few.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy_conformance.behaviour.costs.own_calls import OwnCalls, assume_a_fast_machine
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

TRIES = 15
LEAST = 100
"""With fewer calls, nothing was counted."""
# A seventh above what was counted on CPython 3.11. On MySQL and MariaDB the reading of each packet counts too.
_OF_MYSQL = {"start that waits": 950, "signal": 2650, "event": 3500}
MOST = {
    "sqlite": {"start that waits": 320, "signal": 620, "event": 815},
    "postgres": {"start that waits": 355, "signal": 570, "event": 825},
    "mysql": _OF_MYSQL,
    "mariadb": _OF_MYSQL,
}


@workflow
async def road_of_a_signal(ctx: WorkflowContext) -> int:
    await ctx.wait_event("road-go")
    return 1


@workflow
async def road_of_an_event(ctx: WorkflowContext, key: str) -> int:
    await ctx.wait_event("road-news", key=key)
    return 1


async def test_the_roads_beside_a_step(backend: str, storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assume_a_fast_machine(backend, monkeypatch)
    calls, names = OwnCalls(), range(TRIES)
    counts: dict[str, list[int]] = {"start that waits": [], "signal": [], "event": []}
    with calls.on():
        async with Romancy(storage_url, workflows=[road_of_a_signal, road_of_an_event]) as app:

            async def count(road: str, walk: Callable[[], Awaitable[object]]) -> None:
                before = calls.count
                await walk()
                counts[road].append(calls.count - before)

            for number in names:
                await count("start that waits", lambda: app.start(road_of_a_signal.options(instance_id=f"s{number}")))  # noqa: B023
                await app.start(road_of_an_event.options(instance_id=f"e{number}"), f"k{number}")
                await status_is(app, f"s{number}", Status.WAITING)  # what follows an answer does not fall into the next
                await status_is(app, f"e{number}", Status.WAITING)
            for number in names:

                async def by_signal(one: str = f"s{number}") -> None:
                    await app.signal(one, "road-go")
                    assert await app.handle(one).result() == 1

                async def by_event(one: int = number) -> None:
                    await app.send("road-news", 1, key=f"k{one}")
                    assert await app.handle(f"e{one}").result() == 1

                await count("signal", by_signal)
                await count("event", by_event)

    medians = {road: median(some) for road, some in counts.items()}
    print(f"own calls: {medians}")
    assert min(medians.values()) > LEAST
    assert {road: most for road, most in MOST[backend].items() if medians[road] > most} == {}

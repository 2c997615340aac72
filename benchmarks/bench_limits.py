"""How many workflows of one step an app gets through, with and without a limit, and with fair keys.

`python -m benchmarks.bench_limits sqlite postgres` starts a thousand workflows at once and waits for all of them. With
a limit that is never full, it says what a place costs. With a narrow one, it says how fast places pass from one to the
next, in the order of asking and with keys that take turns. It prints the median rate of some rounds.

The servers are private ones. The rounds share a database.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.databases import DATABASES, empty_database
from romancy import Limit, Romancy, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from romancy.workflow import Workflow

CALL: Final = 120.0
"""Seconds that a call may take."""
WIDE: Final = 100_000
"""More places than there are instances."""
NARROW: Final = 20
KEYS: Final = 10


@activity
async def step(number: int) -> int:
    return number


@workflow
async def free(ctx: WorkflowContext, number: int) -> int:
    return await step(number)


@workflow(limits=[Limit("wide", concurrency=WIDE)])
async def wide(ctx: WorkflowContext, number: int) -> int:
    return await step(number)


@workflow(limits=[Limit("narrow", concurrency=NARROW)])
async def narrow(ctx: WorkflowContext, number: int) -> int:
    return await step(number)


CASES: Final[dict[str, tuple[Workflow[..., Any], bool]]] = {
    "no limit": (free, False),
    "no limit, fair keys": (free, True),
    "a limit with room": (wide, False),
    "a limit with room, fair keys": (wide, True),
    f"a limit of {NARROW}": (narrow, False),
    f"a limit of {NARROW}, fair keys": (narrow, True),
}


async def rate(app: Romancy, flow: Workflow[..., Any], count: int, *, keyed: bool) -> float:
    """How many instances end in a second."""
    calls = [flow.options(fair_key=f"key {one % KEYS}" if keyed else None).bind(one) for one in range(count)]
    began = time.perf_counter()
    handles = await app.start_many(calls)
    await asyncio.gather(*(handle.result(CALL) for handle in handles))
    return count / (time.perf_counter() - began)


async def measure(url: str, count: int, rounds: int) -> None:
    async with Romancy(url, workflows=[free, wide, narrow], answer_within=CALL, warn_when_blocked=None) as app:
        await app.run(free, 0)
        rates: dict[str, list[float]] = {name: [] for name in CASES}
        for _ in range(rounds):
            for name, (flow, keyed) in CASES.items():
                rates[name].append(await rate(app, flow, count, keyed=keyed))
    for name, found in rates.items():
        print(f"{name:30} {statistics.median(found):8,.0f} workflows/s")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.bench_limits", description=__doc__)
    parser.add_argument("databases", nargs="+", metavar="database", choices=DATABASES, help=", ".join(DATABASES))
    parser.add_argument("--count", type=int, default=1_000, help="how many workflows start at once")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in options.databases:
        print(name)
        with empty_database(name) as url:
            asyncio.run(measure(url, options.count, options.rounds))


if __name__ == "__main__":
    main()

"""How long work of Romancy holds up the other tasks of its event loop.

`python -m benchmarks.bench_fairness` opens an app, and beside it a task that ticks each millisecond. In each case,
5,000 things happen in one turn of the loop: as many tasks call `app.start`, send a signal or ask for a result; as many
activities end; a worker finds as many instances. The benchmark prints the longest time between two ticks, as the
median of several rounds, and the rate. The first case is the floor: as many tasks that await a bare future. The CPU
time of the loop's thread between two ticks says the same on a machine that has other work too.

With `--url`, it measures another database than a SQLite file. The rounds share that database.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from romancy import Romancy, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from romancy import Handle

TICK: Final = 0.001
MORE: Final = 50
"""Milliseconds by which starts may hold up others for longer than as many tasks do that await a bare future."""
ALL: Final = 100_000
"""More activities and instances than a case has."""
CALL: Final = 120.0
"""Seconds that a call may take."""


class Gate:
    """What the held activities wait for."""

    held = 0
    opened: asyncio.Event


@activity
async def step(number: int) -> int:
    return number


@activity
async def held_step(number: int) -> int:
    Gate.held += 1
    await Gate.opened.wait()
    return number


@workflow
async def one_step(ctx: WorkflowContext, number: int) -> int:
    return await step(number)


@workflow
async def one_held_step(ctx: WorkflowContext, number: int) -> int:
    return await held_step(number)


@workflow
async def waits(ctx: WorkflowContext, number: int) -> int:
    await ctx.wait_event("go")
    return number


class Ticks:
    """A task that ticks during a block, and the longest time between two ticks."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.cpu = 0.0
        """The most CPU time between two ticks."""
        self.seconds = 0.0

    async def _tick(self) -> None:
        last, used = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(TICK)
            now, cpu = time.perf_counter(), time.thread_time()
            self.longest, last = max(self.longest, now - last - TICK), now
            self.cpu, used = max(self.cpu, cpu - used), cpu

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(2 * TICK)
        self._began = time.perf_counter()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        await asyncio.sleep(2 * TICK)
        self._task.cancel()


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Romancy]:
    """Yield an app that may hold all instances at once."""
    async with Romancy(
        url,
        workflows=[one_step, one_held_step, waits],
        max_activities=ALL,
        max_live=ALL,
        sticky=ALL,
        answer_within=CALL,
        warn_when_blocked=None,
    ) as app:
        await app.run(one_step, 0)
        yield app


async def tasks_alone(url: str, count: int) -> Ticks:
    """Await a bare future in each task."""
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await answer

    async with Ticks() as ticks:
        tasks = [asyncio.create_task(wait()) for _ in range(count)]
        await asyncio.sleep(0)
        answer.set_result(None)
        await asyncio.gather(*tasks)
    return ticks


async def starts(url: str, count: int) -> Ticks:
    """Call `app.start` in each task, and let all instances end."""
    async with opened(url) as app, Ticks() as ticks:
        handles = await asyncio.gather(*[app.start(one_step, number) for number in range(count)])
        await _ended(handles)
    return ticks


async def starts_that_wait(url: str, count: int) -> Ticks:
    """Call `app.start` in each task for a workflow that waits for an event."""
    async with opened(url) as app, Ticks() as ticks:
        await asyncio.gather(*[app.start(waits, number) for number in range(count)])
    return ticks


async def starts_in_bulk(url: str, count: int) -> Ticks:
    """Start all with one call, and let all instances end."""
    async with opened(url) as app, Ticks() as ticks:
        await _ended(await app.start_many([one_step.bind(number) for number in range(count)]))
    return ticks


async def signals(url: str, count: int) -> Ticks:
    """Signal an instance in each task, and let all instances end."""
    async with opened(url) as app:
        handles = await app.start_many([waits.bind(number) for number in range(count)])
        async with Ticks() as ticks:
            await asyncio.gather(*[handle.signal("go") for handle in handles])
            await _ended(handles)
    return ticks


async def sends(url: str, count: int) -> Ticks:
    """Send an event in each task that nobody receives."""
    async with opened(url) as app, Ticks() as ticks:
        await asyncio.gather(*[app.send("nobody", number, key=str(number)) for number in range(count)])
    return ticks


async def results_of_running(url: str, count: int) -> Ticks:
    """Await the result of an instance in each task, and end their activities in one turn."""
    async with opened(url) as app:
        handles = await _held(app, count)
        async with Ticks() as ticks:
            tasks = [asyncio.create_task(handle.result()) for handle in handles]
            await asyncio.sleep(0)
            Gate.opened.set()
            await asyncio.gather(*tasks)
    return ticks


async def results_of_ended(url: str, count: int) -> Ticks:
    """Await the result of an instance in each task that has ended."""
    async with opened(url) as app:
        handles = await app.start_many([one_step.bind(number) for number in range(count)])
        await _ended(handles)
        async with Ticks() as ticks:
            await asyncio.gather(*[handle.result() for handle in handles])
    return ticks


async def ends_of_activities(url: str, count: int) -> Ticks:
    """End the activities of all instances in one turn."""
    async with opened(url) as app:
        handles = await _held(app, count)
        async with Ticks() as ticks:
            Gate.opened.set()
            await _ended(handles)
    return ticks


async def claims(url: str, count: int) -> Ticks:
    """Open a worker that finds all instances, each with a signal."""
    async with Romancy(url, workflows=[waits], worker=False, answer_within=CALL) as client:
        handles = await client.start_many([waits.bind(number) for number in range(count)])
        await asyncio.gather(*[handle.signal("go") for handle in handles])
    async with Ticks() as ticks, opened(url) as app:
        await _ended([app.handle(handle.instance_id) for handle in handles])
    return ticks


async def _held(app: Romancy, count: int) -> Sequence[Handle[int]]:
    """Start instances, and return when each is in the middle of its activity."""
    Gate.held, Gate.opened = 0, asyncio.Event()
    handles = await app.start_many([one_held_step.bind(number) for number in range(count)])
    while Gate.held < count:  # noqa: ASYNC110 - the held activities count themselves
        await asyncio.sleep(0.01)
    return handles


async def _ended(handles: Sequence[Handle[int]]) -> None:
    for handle in handles:
        await handle.result()


CASES: Final[dict[str, Callable[[str, int], Coroutine[None, None, Ticks]]]] = {
    "tasks that await a future": tasks_alone,
    "app.start": starts,
    "app.start, waits": starts_that_wait,
    "start_many": starts_in_bulk,
    "signal": signals,
    "send": sends,
    "result, running": results_of_running,
    "result, ended": results_of_ended,
    "activities end": ends_of_activities,
    "a worker claims": claims,
}
FLOOR, *_ = CASES


def measured(case: str, url: str, count: int) -> Ticks:
    """Measure a case on a database of its own, or on the one at `url`."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(CASES[case](url or f"sqlite:///{Path(folder) / 'fairness.db'}", count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", default="", help="an empty database (default: a new SQLite file for each round)")
    parser.add_argument("--case", action="append", choices=CASES, help="this one alone; may be repeated")
    chosen = parser.parse_args()
    names = list(dict.fromkeys([FLOOR, *(chosen.case or CASES)]))
    found: dict[str, list[Ticks]] = {name: [] for name in names}
    floor: list[float] = []
    for _ in range(chosen.rounds):
        for name in names:
            found[name].append(measured(name, chosen.url, chosen.count))
    print(
        "| case | longest wait of another task, ms | beyond the floor | CPU of it, ms | beyond the floor | a second |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for name, rounds in found.items():
        waits = [_of([getattr(one, what) * 1e3 for one in rounds]) for what in ("longest", "cpu")]
        floor = floor or [wait[0] for wait in waits]
        cells = [
            f"{middle:.0f} ({least:.0f} to {most:.0f}) | {middle - below:+.0f}"
            for (middle, least, most), below in zip(waits, floor, strict=True)
        ]
        rate = chosen.count / statistics.median(one.seconds for one in rounds)
        print(f"| {name} | {' | '.join(cells)} | {rate:,.0f} |")
    print(f"\n`app.start` may hold up others for {MORE} ms beyond the floor.")


def _of(found: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the least and the most."""
    return statistics.median(found), min(found), max(found)


if __name__ == "__main__":
    main()

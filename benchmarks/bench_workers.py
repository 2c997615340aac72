"""What more worker processes bring on one database, and how the work is spread over them.

`python -m benchmarks.bench_workers [backend …]` lets 1, 2, 4 and 8 processes share the same workflows: five steps each,
started by a process that does not work itself. Of each count it tells steps a second, that rate beside one worker's
alone (it may never be lower than 90 % of it), and the smallest and the largest share of the work. What processes can
bring is bounded by the cores of the machine, which the database uses too.

Measured are workers that have worked before: a worker's first second goes into connections and statements that are
prepared on each, four times as many for four workers, and is no part of what they bring from then on. Nor is the
moment in the end in which some have nothing left: there are so many workflows that it is hardly seen. The counts are
measured in turn, several times, and of each the median is told, so that a machine that is slow for a while is slow for
all of them.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks.bench_engine import databases
from romancy import Romancy, Status, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator

COUNTS = (1, 2, 4, 8)
WORKFLOWS = 16_000
WARM_UP = 600
ROUNDS = 3
STEPS = 5
OPEN = (Status.PENDING, Status.RUNNING, Status.WAITING)
WORK = "--work"

done = 0


@activity
async def shared_step(number: int) -> int:
    global done  # noqa: PLW0603 - counted by each process for itself
    done += 1
    return number


@workflow
async def shared_line(ctx: WorkflowContext, steps: int) -> int:
    return sum([await shared_step(number) for number in range(steps)])


async def work(url: str) -> None:
    """Be a worker until told to stop, and tell how many steps were done here: when it begins to count, and in all."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: print(done, flush=True))
    async with Romancy(url, workflows=[shared_line]):
        print("ready", flush=True)
        await stop.wait()
    print(done, flush=True)


@asynccontextmanager
async def workers(url: str, count: int) -> AsyncGenerator[list[Process]]:
    """So many worker processes, at work; they are told to stop in the end."""
    command = [sys.executable, "-m", "benchmarks.bench_workers", WORK, url]
    processes = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            await line_of(process)
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)


async def line_of(process: Process) -> str:
    """What it says next."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def all_done(app: Romancy, workflows: int) -> float:
    """Start so many, and wait until the workers are through; how long it took."""
    began = time.perf_counter()
    await app.start_many([shared_line.bind(STEPS) for _ in range(workflows)])
    while (await app.list_instances(status=OPEN, limit=1)).instances:  # noqa: ASYNC110 - other processes work
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def rate(app: Romancy, url: str, count: int) -> tuple[float, list[int]]:
    """Steps a second with so many workers, and the steps each of them did."""
    async with workers(url, count) as processes:
        await all_done(app, WARM_UP)
        for process in processes:
            process.send_signal(signal.SIGUSR1)
        before = [int(await line_of(process)) for process in processes]
        elapsed = await all_done(app, WORKFLOWS)
    after = [int(await line_of(process)) for process in processes]
    for process in processes:
        await process.wait()
    return WORKFLOWS * STEPS / elapsed, [last - first for first, last in zip(before, after, strict=True)]


async def measure(url: str) -> str:
    """One database's line of the table."""
    rates: dict[int, list[float]] = {count: [] for count in COUNTS}
    shares: dict[int, list[float]] = {count: [] for count in COUNTS}
    async with Romancy(url, workflows=[shared_line], worker=False) as app:
        await rate(app, url, 1)  # what is done for the first time is done
        for _ in range(ROUNDS):
            for count in COUNTS:
                steps, parts = await rate(app, url, count)
                rates[count].append(steps)
                shares[count] += [part / sum(parts) for part in parts]
    alone = statistics.median(rates[COUNTS[0]])
    cells: list[str] = []
    for count in COUNTS:
        steps = statistics.median(rates[count])
        cells.append(f"{steps:,.0f} | {steps / alone:.0%} | {min(shares[count]):.0%}-{max(shares[count]):.0%}")
    return " | ".join(cells)


def main() -> None:
    """Measure and print a table."""
    if sys.argv[1:2] == [WORK]:
        asyncio.run(work(sys.argv[2]))
        return
    print("| database |" + "".join(f" {count}: steps/s | of one | shares |" for count in COUNTS))
    print("|---|" + "--:|--:|--:|" * len(COUNTS))
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(sys.argv[1:], folder):
            print(f"| {name} | {asyncio.run(measure(url))} |", flush=True)


if __name__ == "__main__":
    main()

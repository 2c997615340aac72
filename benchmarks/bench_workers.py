"""The gain from more worker processes on one database, and how they share the work.

`python -m benchmarks.bench_workers [backend …]` lets 1, 2, 4 and 8 processes share the same workflows: five steps each,
started by a process that does not work itself. For each count it prints steps a second, that rate relative to one
worker (never below 90 %), and the smallest and the largest share of the work. The cores of the machine limit the gain;
the database uses them too.

The benchmark measures warm workers. In its first second, a worker opens connections and prepares statements on each,
four times as many for four workers. The benchmark also makes the end small, when some workers have nothing left: it
uses many workflows. It measures the counts in turn, several times, and prints the median of each, so that a slow period
of the machine affects all counts.
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

from benchmarks.databases import databases
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
    """Be a worker until told to stop; print its steps at the start of the count, and in all."""
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
    """Start so many worker processes; stop them at the end."""
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
    """Return the next line of its output."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def all_done(app: Romancy, workflows: int) -> float:
    """Start so many workflows, and wait until all have ended; return how long it took."""
    began = time.perf_counter()
    await app.start_many([shared_line.bind(STEPS) for _ in range(workflows)])
    while (await app.list_instances(status=OPEN, limit=1)).instances:  # noqa: ASYNC110 - other processes work
        await asyncio.sleep(0.02)
    return time.perf_counter() - began


async def rate(app: Romancy, url: str, count: int) -> tuple[float, list[int]]:
    """Return steps a second with so many workers, and the steps of each."""
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
    """Return one database's line of the table."""
    rates: dict[int, list[float]] = {count: [] for count in COUNTS}
    shares: dict[int, list[float]] = {count: [] for count in COUNTS}
    async with Romancy(url, workflows=[shared_line], worker=False) as app:
        await rate(app, url, 1)  # one-time work is done here
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

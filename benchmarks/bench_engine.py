"""The speed of the engine, beside the floor of the database it runs on.

`python -m benchmarks.bench_engine [backend …]` measures, in one process and on private servers with production
durability: the steps of one workflow after another, 500 workflows of five steps at once, starts, and the time from
the start to the result of a workflow of one step. Every figure stands beside the database's own rate of durable
single-row commits, measured just before it: machines differ, and so does one machine from minute to minute.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cores import apart
from benchmarks.floors import commits_per_second
from romancy import Romancy, WorkflowContext, activity, workflow
from romancy_conformance.servers import Kind, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKENDS = ("sqlite", "postgres", "mysql", "mariadb")
SEQUENTIAL_STEPS = 5000
WARM_UP = 5000
"""Steps before anything is measured. The floor is a steady rate, of files that have their size; so must ours be."""
CONCURRENT = 500
ROUNDS = 8


@activity
async def add(number: int, other: int) -> int:
    return number + other


@workflow
async def steps(ctx: WorkflowContext, count: int) -> int:
    number = 0
    for index in range(count):
        number = await add(number, index)
    return number


async def sequential(app: Romancy) -> tuple[float, float]:
    """Steps a second of one workflow, and the microseconds of our own CPU that one costs."""
    began, cpu = time.perf_counter(), time.process_time()
    await app.run(steps, SEQUENTIAL_STEPS)
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    return SEQUENTIAL_STEPS / elapsed, used / SEQUENTIAL_STEPS * 1e6


async def concurrent(app: Romancy) -> tuple[float, float]:
    """Steps a second of 500 workflows of five steps at once, and the CPU of one."""
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        handles = await app.start_many([steps.bind(5) for _ in range(CONCURRENT)])
        await asyncio.gather(*[handle.result() for handle in handles])
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    count = ROUNDS * CONCURRENT * 5
    return count / elapsed, used / count * 1e6


async def starts(app: Romancy) -> float:
    """Starts a second, started together."""
    began = time.perf_counter()
    await app.start_many([steps.options(delay=3600).bind(1) for _ in range(5000)])
    return 5000 / (time.perf_counter() - began)


async def latency(app: Romancy) -> float:
    """Milliseconds from the start to the result of a workflow of one step, at the median."""
    times: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        await app.run(steps, 1)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def measure(url: str) -> dict[str, float]:
    """All figures of one database."""
    async with Romancy(url, workflows=[steps]) as app:
        await app.run(steps, WARM_UP)
        one, one_cpu = await sequential(app)
        many, many_cpu = await concurrent(app)
        return {
            "one": one,
            "one_cpu": one_cpu,
            "many": many,
            "many_cpu": many_cpu,
            "starts": await starts(app),
            "latency": await latency(app),
        }


def databases(names: list[str], folder: str, *, on_other_cores: bool = False) -> Iterator[tuple[str, str]]:
    """The asked-for databases with their URLs; servers run where this process does not, if that is wished."""
    for name in names or BACKENDS:
        if name == "sqlite":
            yield name, f"sqlite:///{Path(folder) / 'bench.db'}"
            continue
        with apart() if on_other_cores else nullcontext():
            url = fresh_database(Kind(name))
        yield name, url


def main() -> None:
    """Measure and print a table."""
    print(
        "| database | commits/s (floor) | one after another: steps/s | of floor | CPU a step | "
        "500 at once: steps/s | CPU a step | starts/s | start to result |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(sys.argv[1:], folder):
            floor = commits_per_second(url)
            got = asyncio.run(measure(url))
            print(
                f"| {name} | {floor:,.0f} | {got['one']:,.0f} | {got['one'] / floor:.0%} | {got['one_cpu']:.0f} µs | "
                f"{got['many']:,.0f} | {got['many_cpu']:.0f} µs | {got['starts']:,.0f} | {got['latency']:.2f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""The speed of the engine, beside the floor of the database it runs on.

`python -m benchmarks.bench_engine [--apart] [backend …]` measures, in one process and on private servers with
production durability: the steps of one workflow after another, 500 workflows of five steps at once, starts, and the
time from the start to the result of a workflow of one step. Short rounds of the steps of one workflow alternate with
rounds of the database's own durable single-row commits, and the share is the median of the rounds' shares: the speed of
a machine changes from minute to minute. Below the table are the targets that were missed. With `--apart` a server runs
on other cores than this process: see `benchmarks.cores`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from benchmarks.cores import apart
from benchmarks.storage_floor import floor_of, one_after_another
from romancy import Romancy, WorkflowContext, activity, workflow
from romancy_conformance.servers import Kind, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.storage_floor import Floor

BACKENDS = ("sqlite", "postgres", "mysql", "mariadb")
SEQUENTIAL_ROUNDS = 15
SEQUENTIAL_STEPS = 400
WARM_UP = 5000
"""Steps before the measurement. The floor is the steady rate with files at their final size, so the engine's must be
too.
"""
CONCURRENT = 500
ROUNDS = 8

SHARE = 0.8
"""Share of the floor's commits, for the steps of one workflow."""
TOGETHER = {"sqlite": 20_000, "postgres": 20_000, "mysql": 10_000, "mariadb": 10_000}
"""Steps a second of 500 workflows at once."""
STARTS = 10_000
CPU = 40
"""Microseconds of this process for a step of 500 workflows at once, including those of the driver and of SQLite."""


class Figures(Struct):
    """The measurements on one database."""

    floor: float
    one: float
    share: float
    one_cpu: float
    many: float
    many_cpu: float
    starts: float
    latency: float

    def missed(self, name: str) -> list[str]:
        """Return the targets that were missed."""
        longest = 2 * 1000 / self.floor + 1
        targets = {
            f"{SHARE:.0%} of the floor": self.share >= SHARE,
            f"{TOGETHER[name]:,} steps/s at once": self.many >= TOGETHER[name],
            f"{CPU} µs of CPU a step": self.many_cpu <= CPU,
            f"{STARTS:,} starts/s": self.starts >= STARTS,
            f"{longest:.1f} ms from start to result (two commits and 1 ms)": self.latency < longest,
        }
        return [what for what, reached in targets.items() if not reached]


@activity
async def add(number: int, other: int) -> int:
    return number + other


@workflow
async def steps(ctx: WorkflowContext, count: int) -> int:
    number = 0
    for index in range(count):
        number = await add(number, index)
    return number


async def sequential(app: Romancy, floor: Floor) -> tuple[float, float, float, float]:
    """Alternate with the floor; return its rate, steps a second of one workflow, their share, and CPU a step."""
    floors: list[float] = []
    rates: list[float] = []
    costs: list[float] = []
    for _ in range(SEQUENTIAL_ROUNDS):
        floors.append(await one_after_another(floor.commit))
        began, cpu = time.perf_counter(), time.process_time()
        await app.run(steps, SEQUENTIAL_STEPS)
        rates.append(SEQUENTIAL_STEPS / (time.perf_counter() - began))
        costs.append((time.process_time() - cpu) / SEQUENTIAL_STEPS * 1e6)
    shares = [rate / commits for rate, commits in zip(rates, floors, strict=True)]
    middle = statistics.median
    return middle(floors), middle(rates), middle(shares), middle(costs)


async def concurrent(app: Romancy) -> tuple[float, float]:
    """Return steps a second of 500 workflows of five steps at once, and the CPU time of one step."""
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        handles = await app.start_many([steps.bind(5) for _ in range(CONCURRENT)])
        await asyncio.gather(*[handle.result() for handle in handles])
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    count = ROUNDS * CONCURRENT * 5
    return count / elapsed, used / count * 1e6


async def starts(app: Romancy) -> float:
    """Return starts a second, of instances started together."""
    began = time.perf_counter()
    await app.start_many([steps.options(delay=3600).bind(1) for _ in range(5000)])
    return 5000 / (time.perf_counter() - began)


async def latency(app: Romancy) -> float:
    """Return the median milliseconds from the start to the result of a workflow of one step."""
    times: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        await app.run(steps, 1)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def measure(url: str) -> Figures:
    """Take all measurements on one database."""
    floor = floor_of(url)
    await floor.open()
    try:
        async with Romancy(url, workflows=[steps]) as app:
            await app.run(steps, WARM_UP)
            return Figures(*await sequential(app, floor), *await concurrent(app), await starts(app), await latency(app))
    finally:
        await floor.close()


def databases(names: list[str], folder: str, *, on_other_cores: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the chosen databases with their URLs; with `--apart`, servers run on other cores."""
    for name in names or BACKENDS:
        if name == "sqlite":
            yield name, f"sqlite:///{Path(folder) / 'bench.db'}"
            continue
        with apart() if on_other_cores else nullcontext():
            url = fresh_database(Kind(name))
        yield name, url


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="The engine beside the floor of its databases")
    parser.add_argument("--apart", action="store_true", help="servers on other cores than this process")
    parser.add_argument("backends", nargs="*", metavar="backend", help=", ".join(BACKENDS))
    wanted = parser.parse_args()
    print(
        "| database | commits/s (floor) | one after another: steps/s | of floor | CPU a step | "
        "500 at once: steps/s | CPU a step | starts/s | start to result |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    misses: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(wanted.backends, folder, on_other_cores=wanted.apart):
            got = asyncio.run(measure(url))
            misses.append(f"{name}: " + (", ".join(f"MISSED {what}" for what in got.missed(name)) or "all reached"))
            print(
                f"| {name} | {got.floor:,.0f} | {got.one:,.0f} | {got.share:.0%} | {got.one_cpu:.0f} µs | "
                f"{got.many:,.0f} | {got.many_cpu:.0f} µs | {got.starts:,.0f} | {got.latency:.2f} ms |",
                flush=True,
            )
    print("", *misses, sep="\n")


if __name__ == "__main__":
    main()

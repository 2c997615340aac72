"""What a start costs where many idle workers hear of it: claims, and the processor time of the server.

`python -m benchmarks.bench_news [--workers 25] [--starts 200]` on PostgreSQL, with notifications and without. The
workers are apps in one process: each has its own store, listens by itself and is a peer of the others. A client starts
one workflow after the other and waits for its result.
"""

# Nothing outside tells of a claim.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from benchmarks.databases import empty_database
from romancy import Romancy, WorkflowContext, workflow
from romancy.engine.worker.claims import Claiming

SETTLES: Final = 4.0
"""Seconds after which each worker has met all others."""
TICKS: Final = os.sysconf("SC_CLK_TCK")


@workflow
async def news(ctx: WorkflowContext, number: int) -> int:
    return number


class Figures(NamedTuple):
    """The figures of a start."""

    claims: float
    server_ms: float
    median_ms: float
    worst_ms: float

    def __str__(self) -> str:
        return f"{self.claims:.1f} | {self.server_ms:.1f} | {self.median_ms:.1f} | {self.worst_ms:.1f}"


class Claims:
    """Counts the claims of all workers in this process."""

    def __init__(self) -> None:
        self.count = 0
        original = Claiming._claim

        async def counted(claiming: Claiming) -> None:
            self.count += 1
            await original(claiming)

        Claiming._claim = counted  # type: ignore[assignment,method-assign]


def processor_time(process: int) -> float:
    """Seconds of all processes of the server to which this process belongs, also of those that have ended."""
    server = _stat(process)[1]
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    stats = {pid: stat for pid in processes if (stat := _stat(pid))}
    used = [sum(stat[11:13]) for pid, stat in stats.items() if stat[1] == server or pid == server]
    return (sum(used) + sum(stats[server][13:15])) / TICKS


def _stat(pid: int) -> list[int]:
    """The numbers of a process after its name and state, with a 0 for the state; none if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return []
    return [0, *map(int, text.rpartition(")")[2].split()[1:])]


async def measure(url: str, workers: int, starts: int, claims: Claims) -> Figures:
    """Start workflows one after the other beside these workers."""
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(Romancy(url, workflows=[news]))
        client = await stack.enter_async_context(Romancy(url, workflows=[news], worker=False))
        watching = await asyncpg.connect(url.partition("?")[0])
        stack.push_async_callback(watching.close)
        process = await watching.fetchval("select pg_backend_pid()")
        await asyncio.sleep(SETTLES)
        times: list[float] = []
        before, used = claims.count, processor_time(process)
        for number in range(starts):
            began = time.perf_counter()
            await (await client.start(news, number)).result()
            times.append((time.perf_counter() - began) * 1000)
        spent = processor_time(process) - used
        ranked = statistics.quantiles(times, n=100)
        return Figures((claims.count - before) / starts, spent * 1000 / starts, ranked[49], ranked[98])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 4, 25])
    parser.add_argument("--starts", type=int, default=200)
    options = parser.parse_args()
    claims = Claims()
    print("| idle workers | listen | claims a start | server ms a start | median ms | 99 of 100 within ms |")
    print("|--:|---|--:|--:|--:|--:|")
    for workers in options.workers:
        for listen in ("on", "off"):
            with empty_database("postgres") as url:
                joined = "&" if "?" in url else "?"
                figures = asyncio.run(measure(f"{url}{joined}listen={listen}", workers, options.starts, claims))
            print(f"| {workers} | {listen} | {figures} |", flush=True)


if __name__ == "__main__":
    main()

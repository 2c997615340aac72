"""How many instances a second a purge removes.

`python -m benchmarks.bench_purge [--instances 20000] [backend …]` fills a database with instances of a crowd, of which
two thirds have ended, and times `romancy purge --status completed` as a process of its own, and `app.purge_many` of the
failed ones. A transaction removes up to 500 instances.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.databases import databases
from romancy import Romancy, Status
from romancy_conformance.behaviour.commands.crowd import fill, run, write_module


def measure(name: str, url: str, size: int, folder: Path) -> None:
    """Fill a database and print the rates."""
    asyncio.run(fill(url, size))
    write_module(folder, url)
    completed, failed = asyncio.run(_counts(url))
    done = run(("purge", "--status", "completed", "--yes"), folder, url)
    if done.code:
        raise SystemExit(done.err)
    took = asyncio.run(_purge_failed(url, failed))
    print(
        f"| {name} | {completed:,} | {done.seconds:.1f} s | {completed / done.seconds:,.0f} | "
        f"{failed:,} | {failed / took:,.0f} |",
        flush=True,
    )


async def _counts(url: str) -> tuple[int, int]:
    async with Romancy(url, workflows=[], worker=False) as app:
        counts = await app.count()
        return counts.by_status[Status.COMPLETED], counts.by_status[Status.FAILED]


async def _purge_failed(url: str, wanted: int) -> float:
    async with Romancy(url, workflows=[], worker=False) as app:
        began = time.perf_counter()
        if len(await app.purge_many(status=Status.FAILED)) != wanted:
            raise SystemExit("not all failed instances were removed")
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Instances that a purge removes a second")
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("backends", nargs="*", metavar="backend")
    wanted = parser.parse_args()
    print("| database | completed | romancy purge, with its start | a second | failed | purge_many, a second |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(list(wanted.backends), folder):
            measure(name, url, wanted.instances, Path(folder))


if __name__ == "__main__":
    main()

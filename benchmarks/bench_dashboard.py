"""The time that the dashboard's server takes for a page, with one log of 100,000 events and with a million instances.

`python -m benchmarks.bench_dashboard [--events 100000] [--instances 1000000] [backend …]` writes the log and requests
each view of the instance in this process, without a network. With `--instances`, the database also holds this number of
other instances, and the benchmark times the lists too. The best of several tries counts; the table shows the first one
beside it. Every page must be ready within 300 ms. Then the benchmark counts all instances for the overview, in slices.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from typing import Final

from benchmarks.databases import DATABASES, databases
from benchmarks.quick_rows import fill_quickly, plant_quickly
from romancy.dashboard import asgi
from romancy.dashboard._rollups import Rollups
from romancy.storage.backends import create_store
from tests.dashboard.browsing import Browser

TARGET: Final = 300.0
"""Milliseconds."""
TRIES: Final = 5


def pages(commits: int, instances: int) -> dict[str, str]:
    """The requests, by their names."""
    one = "/instances/long"
    middle = commits // 2
    views = {
        "timeline, first page": one,
        "timeline, middle": f"{one}?row={middle}.0",
        "timeline, last page": f"{one}?row={commits - 50}.0",
        "graph, middle": f"{one}?view=graph&row={middle}.0",
        "children, middle": f"{one}?view=family&row={middle}.0",
        "time travel, middle": f"{one}?view=state&at={middle}.0",
        "log, middle": f"{one}?view=log&row={middle}.0",
        "compared with itself": f"{one}?view=compare&with=long",
    }
    last = f"{max(instances - 1, 0)}"
    lists = {
        "overview": "/",
        "list": "/instances",
        "list of one status": "/instances?status=stuck",
        "list of a workflow and a status": "/instances?workflow=flow-07&status=failed",
        "search by a declared path": "/instances?where=customer.id%3Dc-77&workflow=flow",
        "search by an undeclared path": f"/instances?where=total%3D{last}",
    }
    return views | (lists if instances else {})


async def measure(name: str, url: str, events: int, instances: int) -> bool:
    """Fill the database, print a table, and return whether every page was ready in time."""
    if instances:
        await fill_quickly(url, instances)
    await plant_quickly(url, events)
    others = f", {instances:,} other instances" if instances else ""
    print(f"\n### {name}: a log of {events:,} events{others}; load {os.getloadavg()[0]:.1f}\n")
    print("| page | ms | first | kB |\n|---|--:|--:|--:|")
    dashboard = asgi(url, auth="local")
    browser, good = Browser(dashboard), True
    await browser.get("/static/dashboard.css")
    try:
        for what, target in pages(events // 2, instances).items():
            good = await timed(browser, what, target) and good
        if instances:
            rollups, told = await counted(url)
            dashboard._rollups = rollups  # pyright: ignore[reportPrivateUsage] - as if the page had been open for long
            good = await timed(browser, "overview, all counted", "/") and good
            print(f"\n{told}")
    finally:
        await dashboard.close()
    return good


async def timed(browser: Browser, what: str, target: str) -> bool:
    """Request a page some times, print its line, and return whether it was ready in time."""
    took: list[float] = []
    size = 0
    for _ in range(TRIES):
        began = time.perf_counter()
        answer = await browser.get(target)
        took.append((time.perf_counter() - began) * 1000)
        size = len(answer.body)
        if answer.status != 200:
            raise SystemExit(f"{target} was answered with {answer.status}")
    print(f"| {what} | {min(took):.0f} | {took[0]:.0f} | {size / 1000:.0f} |", flush=True)
    return min(took) < TARGET


async def counted(url: str) -> tuple[Rollups, str]:
    """Count all instances as the poller does, without its pauses, and print the times of its slices."""
    rollups, took = Rollups(between=0.0), list[float]()
    store = create_store(url)
    await store.open(migrate=False)
    try:
        while rollups.newest is None:
            now, began = (await store.services.reading.census()).now, time.monotonic()
            await rollups.go_on(store, now, began)
            took.append((time.monotonic() - began) * 1000)
    finally:
        await store.close()
    return rollups, (
        f"{rollups.newest.total:,} instances counted in {len(took)} slices, {sum(took) / 1000:.1f} s in all; "
        f"the slowest took {max(took):.0f} ms, and {len(rollups.newest.spans):,} numbers are kept."
    )


def main() -> None:
    """Measure and print; exit with 1 if a page took too long."""
    parser = argparse.ArgumentParser(description="The pages of the dashboard")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--instances", type=int, default=0)
    parser.add_argument("backends", nargs="*", metavar="backend", default=DATABASES, help=", ".join(DATABASES))
    wanted = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(list(wanted.backends), folder):
            good = asyncio.run(measure(name, url, wanted.events, wanted.instances)) and good
    raise SystemExit(not good)


if __name__ == "__main__":
    main()

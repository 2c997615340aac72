"""The cost of each call among a million instances, with the plan that the database uses for it.

`python -m benchmarks.bench_scale [--instances 1000000] [backend …]` fills a database through the storage protocol
(twenty workflows, most instances ended, all searchable by a declared path). It then measures the median time of each
call, first right after filling and again after the database has updated its statistics. After the times it prints the
rows that each call read and its plan. At the end it adds due instances, a twentieth as many, of a workflow that
declares no path: a backlog to claim from, which an indexed search must read one by one.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from benchmarks.databases import DATABASES, databases
from benchmarks.scale_work import BACKLOG, Population, Worker
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from benchmarks.scale_work import Call

TARGET = 5.0
"""Milliseconds, for every call that has an index."""
CALLS = 31
SLOW_CALLS = 3
LONG = 5.0
"""Seconds after which a call is not repeated."""


class Line(Struct):
    """The results for one call."""

    what: str
    indexed: bool
    times: list[float]
    rows: int = 0
    plan: str = ""


async def milliseconds(call: Call) -> float:
    """Return the median time of a call without its preparation; infinite if the store gives up waiting for it."""
    times: list[float] = []
    for _ in range(CALLS if call.indexed else SLOW_CALLS):
        await call.prepare()
        began = time.perf_counter()
        try:
            await call.make()
        except StorageUnavailableError:
            return math.inf
        times.append(time.perf_counter() - began)
        if times[-1] > LONG:
            break
    return statistics.median(times) * 1000


def patient(url: str) -> str:
    """Return the URL with long time-outs, because after a time-out the server would continue beside the next call.

    The server must not end the idle connection that reads its counters while another one searches for minutes.
    """
    return f"{url}?timeout=600&idle_timeout=3600" if urlsplit(url).scheme in ("mysql", "mariadb") else url


async def fill(url: str, population: Population) -> float:
    """Start all instances in batches; return how many a second."""
    store = create_store(url)
    await store.open()
    began = time.perf_counter()
    await population.fill(store)
    elapsed = time.perf_counter() - began
    await store.close()
    return population.size / elapsed


async def timed(url: str, population: Population, *, backlog: bool = False) -> dict[str, Line]:
    """Return the times of all calls, on an unwatched store."""
    store = create_store(patient(url))
    await store.open()
    try:
        worker = await Worker.on(store, population)
        calls = worker.backlog_calls() if backlog else worker.calls()
        return {call.what: Line(call.what, call.indexed, [await milliseconds(call)]) for call in calls}
    finally:
        await store.close()


async def explained(url: str, population: Population, lines: dict[str, Line], *, backlog: bool = False) -> None:
    """Return rows and plans, from a watched store."""
    watch = watch_for(url)
    with watch.on():
        store = create_store(patient(url))
        await store.open()
        worker = await Worker.on(store, population)
        for call in worker.backlog_calls() if backlog else worker.calls():
            line = lines[call.what]
            if math.isinf(line.times[0]):
                line.plan = "the store gave up waiting for the answer"
                continue
            await call.prepare()
            cost = await watch.cost(store, call.make())
            line.rows, line.plan = cost.rows, cost.plan
        await watch.analyze(store)
        await store.close()


async def measure(url: str, size: int) -> tuple[float, dict[str, Line]]:
    """Fill, time, explain, analyze and time again; then the same with a backlog."""
    population = Population(size)
    rate = await fill(url, population)
    lines = await timed(url, population)
    await explained(url, population, lines)
    for what, again in (await timed(url, population)).items():
        lines[what].times += again.times
    population.size, population.backlog = size // BACKLOG, True
    await fill(url, population)
    behind = await timed(url, population, backlog=True)
    await explained(url, population, behind, backlog=True)
    for what, again in (await timed(url, population, backlog=True)).items():
        behind[what].times += again.times
    return rate, lines | behind


def report(name: str, rate: float, lines: dict[str, Line]) -> None:
    """Print the table, and the plans below it."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n### {name}: filled at {rate:,.0f} instances a second; load {load}\n")
    print("| call | as filled | analyzed | rows looked at | |\n|---|--:|--:|--:|---|")
    for line in lines.values():
        filled, analyzed = line.times
        judged = "no target" if not line.indexed else "reached" if max(line.times) < TARGET else "MISSED"
        print(f"| {line.what} | {filled:.2f} ms | {analyzed:.2f} ms | {line.rows:,} | {judged} |")
    for line in lines.values():
        print(f"\n--- {name}: {line.what}\n{line.plan}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The stores among a million instances")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("backends", nargs="*", metavar="backend", help=", ".join(DATABASES))
    wanted = parser.parse_args()
    print(f"{wanted.instances:,} instances; the target of {TARGET} ms is for calls that have an index")
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(wanted.backends, folder):
            report(name, *asyncio.run(measure(url, wanted.instances)))


if __name__ == "__main__":
    main()

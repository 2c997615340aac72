"""The speed of the stores, beside the floor of the database under each.

`python -m benchmarks.bench_storage [backend …]` measures through the storage protocol alone, on private servers with
production durability. Short rounds of the database alone (the floor) and of Romancy alternate, and the share is the
median of the rounds' shares, because other load on the machine slows both. So compare figures within one run; rates
from a busy machine do not measure the database. With `--apart` a server runs on other cores than this process: see
`benchmarks.cores`. SQLite is part of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from benchmarks.databases import DATABASES, databases
from benchmarks.storage_floor import ROWS, SECONDS, Disk, floor_of, one_after_another
from benchmarks.storage_work import EVENTS, HISTORY, Workload
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.storage_floor import Floor

    Step = Callable[[], Awaitable[int]]

ROUNDS = 25
WRITERS = 64
CALLS = 20
TARGETS = {"sqlite": 50_000, "postgres": 50_000, "mysql": 25_000, "mariadb": 25_000}
"""Events a second of 64 concurrent writers."""
SHARE = 0.8
"""Share of the floor's durable commits, for single appends."""


class Line(Struct, frozen=True):
    """A line of the table: Romancy's figure, the floor's in the same rounds, and the share."""

    what: str
    rate: float
    unit: str
    floor: float | None = None
    share: float | None = None
    cpu: float | None = None
    """Microseconds of this process for one operation; includes SQLite, but not a server."""
    note: str = ""


async def in_turn(what: str, unit: str, floor: Step, ours: Callable[[], Awaitable[float]]) -> Line:
    """Alternate the floor and Romancy; return the medians of both and of the share."""
    await ours()
    rates: list[float] = []
    floors: list[float] = []
    costs: list[float] = []
    for _ in range(ROUNDS):
        floors.append(await one_after_another(floor))
        began, cpu = time.perf_counter(), time.process_time()
        rate = await ours()
        rates.append(rate)
        costs.append((time.process_time() - cpu) / (rate * (time.perf_counter() - began)) * 1e6)
    shares = [rate / floor for rate, floor in zip(rates, floors, strict=True)]
    middle = statistics.median
    return Line(what, middle(rates), unit, middle(floors), middle(shares), middle(costs))


async def timed(what: str, count: int, unit: str, call: Callable[[], Awaitable[float]]) -> Line:
    """Return the median time of some calls; each call returns the duration of the part that counts."""
    seconds = statistics.median([await call() for _ in range(CALLS)])
    return Line(what, count / seconds, unit, note=f"{seconds * 1000:.2f} ms")


def judged(line: Line, *, share: float | None = None, rate: float | None = None) -> Line:
    """Return the line with its target, and whether it was met."""
    reached = (line.share or 0) >= share if share is not None else line.rate >= (rate or 0)
    target = f"{share:.0%} of the floor" if share is not None else f"{rate:,.0f}"
    return Line(
        line.what, line.rate, line.unit, line.floor, line.share, line.cpu,
        f"target {target}: {'reached' if reached else 'MISSED'}",
    )  # fmt: skip


async def appends(name: str, floor: Floor, work: Workload) -> list[Line]:
    """Measure plain appends, alone and together, and appends with effects."""
    lone = await in_turn("appends, one at a time", "commits", floor.commit, lambda: one_after_another(work.plain))
    together = await in_turn(
        f"appends of {EVENTS} events, {WRITERS} writers", "events", floor.rows, lambda: work.writers(WRITERS, SECONDS)
    )
    lines = [judged(lone, share=SHARE), judged(together, rate=TARGETS[name])]
    for what, step in work.effects().items():
        one = await in_turn(f"appends with {what}, one at a time", "commits", floor.commit, _round(step))
        lines.append(one)
    for what, batch in work.effect_batches(WRITERS).items():
        lines.append(await in_turn(f"appends with {what}, {WRITERS} a batch", "appends", floor.rows, _round(batch)))
    return lines


def _round(step: Step) -> Callable[[], Awaitable[float]]:
    return lambda: one_after_another(step)


async def calls(floor: Floor, work: Workload) -> list[Line]:
    """Measure all other calls of a worker."""
    return [
        await in_turn("starts, 500 a batch", "starts", floor.rows, _round(lambda: work.starts(500))),
        await in_turn("deliveries, one at a time", "messages", floor.commit, _round(lambda: work.deliver(1))),
        await in_turn("deliveries, 100 a batch", "messages", floor.rows, _round(lambda: work.deliver(100))),
        await timed("claim with nothing due", 1, "claims", lambda: work.claim(0)),
        await timed("claim of 100", 100, "instances", lambda: work.claim(100)),
        await timed("heartbeat", 1, "beats", work.beat),
        await timed(f"read of {HISTORY:,} rows in pages", HISTORY, "rows", work.read_history),
    ]


async def measure(name: str, url: str, folder: Path) -> tuple[str, list[Line]]:
    """Measure one database; return its own name and the lines."""
    store = create_store(url)
    await store.open()
    floor, disk = floor_of(url), Disk(folder)
    await floor.open()
    work = await Workload.on(store)
    try:
        disk_rate = statistics.median([await one_after_another(disk.sync) for _ in range(3)])
        lines = [Line("fdatasync of 4 kB", disk_rate, "syncs")]
        lines += await appends(name, floor, work)
        lines += await calls(floor, work)
        return store.capabilities.name, lines
    finally:
        await floor.close()
        disk.close()
        await store.close()


def report(product: str, lines: list[Line]) -> None:
    """Print one table."""
    print(f"\n### {product}, load {', '.join(f'{load:.1f}' for load in os.getloadavg())}\n")
    print("| what | a second | the floor beside it | share | our CPU each | |")
    print("|---|--:|--:|--:|--:|---|")
    for line in lines:
        floor = "" if line.floor is None else f"{line.floor:,.0f}"
        share = "" if line.share is None else f"{line.share:.0%}"
        cpu = "" if line.cpu is None else f"{line.cpu:.0f} µs"
        print(f"| {line.what} | {line.rate:,.0f} {line.unit} | {floor} | {share} | {cpu} | {line.note} |", flush=True)


def main() -> None:
    """Measure and print a table for each database."""
    parser = argparse.ArgumentParser(description="The stores beside the floor of their databases")
    parser.add_argument("--apart", action="store_true", help="servers on other cores than this process")
    parser.add_argument("backends", nargs="*", metavar="backend", help=", ".join(DATABASES))
    wanted = parser.parse_args()
    print(
        f"Medians of {ROUNDS} rounds of {SECONDS} s, taken in turn with the floor: durable single-row commits on one "
        f"connection for what goes one at a time, rows inserted {ROWS} a commit for batches. Compare within one table "
        "only: the machine may have been busy with other things, and its load says how busy."
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(wanted.backends, folder, on_other_cores=wanted.apart):
            report(*asyncio.run(measure(name, url, Path(folder))))


if __name__ == "__main__":
    main()

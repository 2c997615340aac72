"""What a process with many workflows in its hands weighs.

`python -m benchmarks.bench_memory [--live 10000] [--running 10000] [--steps 5] [--trace] [backend …]` holds so many
workflows live at once, each with a few steps done and in the middle of an activity; where fewer activities may run at
once, the others wait for their turn, in their first step then. It tells the resident memory of the process before and
then, and what one workflow adds. With `--trace` follow the lines of code that hold most of it (tracing takes memory
of its own, so the totals are then too high).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

from benchmarks.databases import databases
from romancy import Romancy, WorkflowContext, activity, workflow

MEGABYTE = 1 << 20
TARGET = 120
TOP = 15
CHUNK = 1000


class Gate:
    """Makes activities wait; counts those that run, and the workflows that have called one."""

    def __init__(self) -> None:
        self.held = self.called = 0
        self.opened = asyncio.Event()


gate = Gate()


@activity
async def remembered_step(number: int) -> int:
    return number


@activity
async def held_step() -> None:
    gate.held += 1
    await gate.opened.wait()


@workflow
async def held_line(ctx: WorkflowContext, steps: int) -> int:
    total = sum([await remembered_step(number) for number in range(steps)])
    gate.called += 1
    await held_step()
    return total


def resident() -> float:
    """Return the resident memory of this process in megabytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


async def measure(url: str, live: int, running: int, steps: int, *, trace: bool) -> None:
    """Print resident megabytes before, and with so many workflows live."""
    async with Romancy(url, workflows=[held_line], max_activities=running, max_live=live) as app:
        before = resident()
        before_it = steps if running >= live else 0  # none of them can complete while the slots are held
        if trace:
            tracemalloc.start()
        for begun in range(0, live, CHUNK):
            await app.start_many([held_line.bind(before_it) for _ in range(min(CHUNK, live - begun))])
        while gate.called < live or gate.held < min(live, running):  # noqa: ASYNC110 - counted by those who are waited for
            await asyncio.sleep(0.05)
        print(f"{before:.0f} {resident():.0f}", flush=True)
        if trace:
            for line in tracemalloc.take_snapshot().statistics("lineno")[:TOP]:
                print(f"{line.size / live:8,.0f} B a workflow, {line.count / live:6.1f} blocks: {line.traceback}")
        gate.opened.set()


def main() -> None:
    """Measure each database in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench_memory", description=__doc__)
    parser.add_argument("backends", nargs="*", metavar="backend")
    parser.add_argument("--live", type=int, default=10_000)
    parser.add_argument("--running", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--inside", metavar="URL", help="be the process that is weighed")
    options = parser.parse_args()
    if options.inside:
        asyncio.run(measure(options.inside, options.live, options.running, options.steps, trace=options.trace))
        return
    print(f"| database | before | {options.live:,} live (target: {TARGET} MB) | a workflow |\n|---|--:|--:|--:|")
    again = [sys.executable, "-m", "benchmarks.bench_memory"]
    again += [f"--{name}={getattr(options, name)}" for name in ("live", "running", "steps")]
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(options.backends, folder):
            more = ["--trace"] if options.trace else []
            said = subprocess.run([*again, *more, "--inside", url], stdout=subprocess.PIPE, text=True, check=True)
            figures, *lines = said.stdout.splitlines()
            before, held = map(int, figures.split())
            each = (held - before) * MEGABYTE / options.live / 1000
            print(f"| {name} | {before} MB | {held} MB | {each:.1f} kB |", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()

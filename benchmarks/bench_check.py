"""The time and the memory that `romancy check` needs before a deploy.

`python -m benchmarks.bench_check [--instances 10000] [--steps 10]` fills a SQLite file with this number of workflows.
Each has done a few steps and waits for an event. The command replays them all in a separate process. The benchmark
prints the command's seconds, its CPU time and its largest resident memory, for a tenth of the instances and for all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from romancy import Romancy, WorkflowContext, activity, workflow

MEGABYTE = 1024
URL = "CHECKED_URL"


@activity
async def checked_step(number: int) -> int:
    return number


@workflow
async def checked_line(ctx: WorkflowContext, steps: int) -> int:
    total = sum([await checked_step(number) for number in range(steps)])
    await ctx.wait_event("go")
    return total


app = Romancy(os.environ.get(URL, "memory://"), workflows=[checked_line], worker=False)


async def fill(url: str, instances: int, steps: int) -> None:
    """Start this number of waiting instances."""
    async with Romancy(url, workflows=[checked_line]) as worker:
        await worker.start_many([checked_line.bind(steps) for _ in range(instances)])
        while (await worker.list_instances(status=["pending", "running"], limit=1)).instances:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.5)


def check(url: str) -> tuple[float, float, float]:
    """Run the command; return its seconds, its CPU seconds and its megabytes."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "romancy", "check", "benchmarks.bench_check:app"], env={**os.environ, URL: url}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"romancy check ended with {process.returncode}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / MEGABYTE


def main() -> None:
    """Print a line for a tenth of the instances and one for all."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench_check", description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10)
    chosen = parser.parse_args()
    for instances in (chosen.instances // 10, chosen.instances):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'check.db'}"
            asyncio.run(fill(url, instances, chosen.steps))
            seconds, busy, weight = check(url)
        print(f"{instances:,} histories of {chosen.steps} steps: {seconds:.1f} s, {busy:.1f} s of CPU, {weight:.0f} MB")


if __name__ == "__main__":
    main()

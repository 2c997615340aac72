"""The cost of a million waiting workflows for an idle worker.

`python -m benchmarks.bench_rest [--waiting 1000000] [--seconds 15] [backend …]` measures the memory of a worker process
that has been idle for this long, first on an empty database and then beside this many instances of its own workflow:
half of them wait for a timer hours away, the others for mail. Then it times the claim that finds nothing due.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks.bench_memory import resident
from benchmarks.databases import DATABASES, databases
from benchmarks.scale_work import HOUR, fill
from romancy import Romancy, WorkflowContext, workflow
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest, Start, Worker

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

CLAIMS = 200
CLAIM_TARGET = 5.0
"""Milliseconds."""


@workflow
async def sleeper(ctx: WorkflowContext) -> None:
    await ctx.sleep(1)


def waiting(number: int) -> Start:
    """Return an instance that waits for its timer, or for mail."""
    return Start(
        instance_id=f"sleeper-{secrets.token_hex(12)}", life=secrets.randbits(52) + 1, workflow_name=sleeper.name,
        code="c1", writer=f"bench-{number}", body=b'[{"type":"WorkflowStarted"}]', input=b'{"order":{"id":"o-4711"}}',
        status=Status.WAITING, delay=HOUR * 10 + number if number % 2 else None,
    )  # fmt: skip


async def claim_time(store: Store) -> float:
    """Return the median milliseconds of a claim that finds nothing due."""
    worker = Worker(token=f"bench-{secrets.token_hex(8)}", worker_id="bench", lease=600_000_000)
    await store.heartbeat(worker)
    request = ClaimRequest(worker=worker.token, codes={sleeper.name: "c1"}, limit=100)
    times: list[float] = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        work = await store.claim(request)
        times.append(time.perf_counter() - began)
        if work.claimed:
            raise RuntimeError("something was due")
    await store.heartbeat(worker, leaving=True)
    return statistics.median(times) * 1000


async def beside(url: str, size: int) -> float:
    """Fill the database; return the time of a claim there."""
    store = create_store(url)
    await store.open()
    try:
        await fill(store, size, waiting)
        return await claim_time(store)
    finally:
        await store.close()


async def rest(url: str, seconds: float) -> None:
    """Be an idle worker, and print its memory at the end."""
    async with Romancy(url, workflows=[sleeper]):
        await asyncio.sleep(seconds)
        print(f"{resident():.1f}")


def weight(url: str, seconds: float) -> float:
    """Return the megabytes of an idle worker in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_rest", "--seconds", str(seconds), "--inside", url]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    """Measure each database, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench_rest", description="An idle worker beside a million")
    parser.add_argument("backends", nargs="*", metavar="backend", help=", ".join(DATABASES))
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--inside", metavar="URL", help="be the process that is weighed")
    options = parser.parse_args()
    if options.inside:
        asyncio.run(rest(options.inside, options.seconds))
        return
    print(f"| database | idle worker, empty database | beside {options.waiting:,} that wait | claim, nothing due | |")
    print("|---|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(options.backends, folder):
            empty = weight(url, options.seconds)
            claim = asyncio.run(beside(url, options.waiting))
            full = weight(url, options.seconds)
            judged = "reached" if claim < CLAIM_TARGET else "MISSED"
            print(
                f"| {name} | {empty:.1f} MB | {full:.1f} MB | {claim:.2f} ms | target {CLAIM_TARGET} ms: {judged} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

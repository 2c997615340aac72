"""How long everything stands still after two deaths in a row, and how long poison beside long activities lives.

`python -m benchmarks.bench_suspects` starts activities of an hour, and kills their worker twice (SIGKILL). Then it
starts empty workflows, one after the other, until the third worker has begun all long activities again. It prints the
longest that one of them took, and how long the long activities had to wait. In a second case, one more workflow ends
its process whenever it runs, and something restarts that process at once: it prints when this workflow was parked and
how many workers died.

With `--url`, it measures another database than a SQLite file. It has to be empty.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from romancy import Romancy, Status, Workflow, WorkflowContext, activity, activity_context, workflow

COUNTS: Final = (5, 100)
LIMIT: Final = 600.0
"""Seconds after which a case is given up."""


@activity
async def work(_: int) -> None:
    print(activity_context().instance_id, flush=True)
    await asyncio.sleep(3600)


@activity
async def end_process(_: int) -> None:
    os._exit(3)


@workflow
async def long_work(ctx: WorkflowContext, number: int) -> None:
    await work(number)


@workflow
async def poison(ctx: WorkflowContext, number: int) -> None:
    await end_process(number)


@workflow
async def empty(ctx: WorkflowContext) -> None: ...


WORKFLOWS: Final[list[Workflow[..., Any]]] = [long_work, poison, empty]


class Found(NamedTuple):
    """What a case has shown."""

    longest: float
    """Seconds that an empty workflow took at most, from its start to its result."""
    until: float
    """Seconds until all long activities had begun again, or until the poison was parked."""
    deaths: int


class Worker:
    """A worker in a process of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.begun: set[str] = set()

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.bench_suspects", "--work", "--url", self._url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.begun.add(line.decode().strip())

    async def begins(self, count: int) -> None:
        while len(self.begun) < count:  # noqa: ASYNC110 - another process tells
            await asyncio.sleep(0.01)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


async def run_empty(app: Romancy, over: asyncio.Event) -> float:
    """Run empty workflows until the case is over, and return how long the longest took."""
    longest = 0.0
    while not over.is_set():
        began = time.perf_counter()
        await (await app.start(empty)).result()
        longest = max(longest, time.perf_counter() - began)
        await asyncio.sleep(0.1)
    return longest


async def two_deaths(url: str, count: int) -> Found:
    """Kill the worker of long activities twice, and let a third one begin them again."""
    async with Romancy(url, workflows=WORKFLOWS, worker=False) as app:
        await app.start_many([long_work.bind(number) for number in range(count)])
        for _ in range(2):
            worker = Worker(url)
            await worker.start()
            await worker.begins(count)
            await worker.kill()
        worker, over = Worker(url), asyncio.Event()
        await worker.start()
        await (await app.start(empty)).result()  # it is at work
        began = time.perf_counter()
        running = asyncio.create_task(run_empty(app, over))
        await worker.begins(count)
        until = time.perf_counter() - began
        over.set()
        longest = await running
        await worker.kill()
        return Found(longest, until, 2)


async def beside_poison(url: str, count: int) -> Found:
    """Restart the worker of long activities and poison until the poison is parked."""
    async with Romancy(url, workflows=WORKFLOWS, worker=False) as app:
        await app.start_many([long_work.bind(number) for number in range(count)])
        poisonous = await app.start(poison, 0)
        over, began, deaths = asyncio.Event(), time.perf_counter(), 0
        running = asyncio.create_task(run_empty(app, over))
        worker = Worker(url)
        await worker.start()
        while await poisonous.status() is not Status.STUCK:
            if worker.process.returncode is not None:
                deaths += 1
                worker = Worker(url)
                await worker.start()
            await asyncio.sleep(0.05)
        until = time.perf_counter() - began
        over.set()
        longest = await running
        await worker.kill()
        return Found(longest, until, deaths)


CASES: Final = {"two deaths": two_deaths, "poison": beside_poison}


async def work_until_killed(url: str) -> None:
    """What a worker process does."""
    async with Romancy(url, workflows=WORKFLOWS, max_activities=1_000):
        await asyncio.Event().wait()


async def measured(case: str, url: str, count: int) -> str:
    """Measure a case on a database of its own, or on the one at `url`; the line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with asyncio.timeout(LIMIT):
                found = await CASES[case](url or f"sqlite:///{Path(folder) / 'suspects.db'}", count)
        except TimeoutError:
            return f"| {case} | {count} | not within {LIMIT:g} s | | |"
    return f"| {case} | {count} | {found.longest:.2f} | {found.until:.0f} | {found.deaths} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="an empty database (default: a new SQLite file for each case)")
    parser.add_argument("--count", type=int, action="append", help="so many long activities (default: 5 and 100)")
    parser.add_argument(
        "--case", choices=CASES, help="this one alone; a server's database serves one case with a count"
    )
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        asyncio.run(work_until_killed(chosen.url))
        return
    print(
        "| case | long activities | longest empty workflow, s | until all run or the poison is parked, s | deaths |\n"
        "|---|---:|---:|---:|---:|"
    )
    for case in [chosen.case] if chosen.case else CASES:
        for count in chosen.count or COUNTS:
            print(asyncio.run(measured(case, chosen.url, count)), flush=True)


if __name__ == "__main__":
    main()

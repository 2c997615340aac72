"""How long a backlog takes that several workers share, beside the time that it would take without any loss.

`python -m benchmarks.bench_sharing [--database sqlite …] [--scenario late …] [--quick]` runs workers in processes of
their own, with a few slots each, and jobs that only take time. The ideal is the time in which all slots together, each
from the moment when its worker was ready, would have done all jobs. A line is over if the time is more than 1.25 times
the ideal, and one job, and one second. The command then ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from benchmarks.databases import DATABASES, empty_database
from romancy import Romancy, Workflow, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.sharing import shares

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOWER: Final = float(os.environ.get("SHARING_SLOWER", "1"))
"""How many times longer a job takes in this process."""
ALLOWED, EXTRA = 1.25, 1.0


@activity
async def sharing_sleeps(seconds: float) -> None:
    await asyncio.sleep(seconds * SLOWER)


@activity
def sharing_blocks(seconds: float) -> None:
    time.sleep(seconds * SLOWER)


@workflow
async def sharing_job(ctx: WorkflowContext, seconds: float) -> None:
    await sharing_sleeps(seconds)


@workflow
async def sharing_plain(ctx: WorkflowContext, seconds: float) -> None:
    await sharing_blocks(seconds)


@workflow
async def sharing_family(ctx: WorkflowContext, children: int, seconds: float) -> None:
    await asyncio.gather(*(sharing_job(seconds) for _ in range(children)))


WORKFLOWS: Final[list[Workflow[..., Any]]] = [sharing_job, sharing_plain, sharing_family]


class Scenario(NamedTuple):
    """Jobs, and the workers that share them."""

    jobs: int
    seconds: float
    slots: int = 2
    late: int = 0
    """How many of the three workers are started three seconds after the jobs."""
    slower: float = 1.0
    """How many times longer a job takes on the first worker."""
    plain: bool = False
    family: bool = False
    own: bool = False
    """Whether the first worker starts the jobs itself."""


SCENARIOS: Final = {
    "late": Scenario(300, 0.2, late=2),
    "late, own starts": Scenario(300, 0.2, late=2, own=True),
    "late, plain functions": Scenario(150, 0.4, late=2, plain=True),
    "early": Scenario(300, 0.2),
    "early, plain functions": Scenario(150, 0.4, plain=True),
    "one slow": Scenario(300, 0.2, slower=4.0),
    "children": Scenario(200, 0.2, family=True),
    "ten": Scenario(10, 1.0),
    "ten thousand": Scenario(10_000, 0.1, slots=16),
}


class Worker:
    """A worker in a process of its own."""

    def __init__(self, url: str, scenario: Scenario, *, slower: float = 1.0, starts: bool = False) -> None:
        options = ["--work", url, "--slots", str(scenario.slots), *(["--plain"] if scenario.plain else [])]
        if starts:
            options += ["--start", str(scenario.jobs), "--seconds", str(scenario.seconds)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bench_sharing", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "SHARING_SLOWER": str(slower)},
        )
        self.speed = scenario.slots / (scenario.seconds * slower)
        self.ready_at = 0.0

    def ready(self) -> None:
        """Wait until it works."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.ready_at = time.monotonic()

    def begin(self) -> None:
        """Let it start its jobs."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def ideal(jobs: int, workers: Sequence[Worker], begun: float) -> float:
    """Seconds until all jobs are done if no slot is ever idle after its worker is ready."""
    left, at = float(jobs), begun
    moments = sorted({max(begun, worker.ready_at) for worker in workers})
    for moment, after in zip(moments, [*moments[1:], float("inf")], strict=True):
        speed = sum(worker.speed for worker in workers if worker.ready_at <= moment)
        at = max(moment, begun)
        if left <= speed * (after - at):
            return at + left / speed - begun
        left -= speed * (after - at)
    return at - begun


async def measure(url: str, scenario: Scenario) -> tuple[float, float, list[int], int]:
    """The seconds that the jobs took, the ideal, the shares of the workers, and how many jobs were handed on."""
    with ExitStack() as stack:

        def hire(*, slower: float = 1.0, starts: bool = False) -> Worker:
            return stack.enter_context(Worker(url, scenario, slower=slower, starts=starts))

        workers = [hire(slower=scenario.slower, starts=scenario.own)]
        workers += [hire() for _ in range(2 - scenario.late)]
        for worker in workers:
            await asyncio.to_thread(worker.ready)
        async with Romancy(url, workflows=WORKFLOWS, worker=False) as app:
            begun = time.monotonic()
            if scenario.own:
                workers[0].begin()
            elif scenario.family:
                await app.start(sharing_family, scenario.jobs, scenario.seconds)
            else:
                job = sharing_plain if scenario.plain else sharing_job
                await app.start_many([job.bind(scenario.seconds) for _ in range(scenario.jobs)])
            if scenario.late:
                await asyncio.sleep(3)
                helpers = [hire() for _ in range(scenario.late)]
                for helper in helpers:
                    await asyncio.to_thread(helper.ready)
                workers += helpers
            name = sharing_plain.name if scenario.plain else sharing_job.name
            while await open_jobs(app, scenario, name):  # noqa: ASYNC110 - a look at the database, as an operator has it
                await asyncio.sleep(0.05)
            took = time.monotonic() - begun
            ids = [one.instance_id async for one in app.iter_instances(workflow_name=name)]
        found = await shares(url, ids)
    return took, ideal(scenario.jobs, workers, begun), sorted(found.done.values()), found.moves


async def open_jobs(app: Romancy, scenario: Scenario, name: str) -> bool:
    """Whether some jobs have not ended."""
    page = await app.list_instances(workflow_name=name, status=["pending", "running", "waiting"], limit=1)
    if page.instances:
        return True
    return not (await app.list_instances(workflow_name=name, limit=1)).instances and scenario.jobs > 0


async def work(options: argparse.Namespace) -> None:
    """Be a worker."""
    slots = {"max_threads": options.slots} if options.plain else {"max_activities": options.slots}
    async with Romancy(options.work, workflows=WORKFLOWS, **slots) as app:
        print("ready", flush=True)
        if options.start:
            await asyncio.to_thread(sys.stdin.readline)
            job = sharing_plain if options.plain else sharing_job
            await app.start_many([job.bind(options.seconds) for _ in range(options.start)])
        await app.serve()


def main() -> None:
    """Print a line for each scenario on each database."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench_sharing", description=__doc__)
    parser.add_argument("--database", nargs="*", choices=DATABASES, default=DATABASES)
    parser.add_argument("--scenario", nargs="*", choices=[*SCENARIOS], default=[*SCENARIOS])
    parser.add_argument("--quick", action="store_true", help="a quarter of the jobs")
    for name in ("--work", "--slots", "--start", "--seconds"):
        parser.add_argument(name, type={"--work": str, "--seconds": float}.get(name, int), help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(options))
        return
    over = 0
    for database in options.database:
        for name in options.scenario:
            scenario = SCENARIOS[name]
            if options.quick and scenario.jobs > 10:
                scenario = scenario._replace(jobs=scenario.jobs // (20 if scenario.jobs > 1000 else 2))
            with empty_database(database) as url:
                took, least, done, moves = asyncio.run(measure(url, scenario))
            bound = ALLOWED * least + scenario.seconds * scenario.slower + EXTRA
            over += took > bound
            print(
                f"{database:9} {name:24} {took:6.1f} s, ideal {least:5.1f} s, at most {bound:5.1f} s, "
                f"shares {done}, {moves} handed on{': OVER' if took > bound else ''}",
                flush=True,
            )
    raise SystemExit(1 if over else 0)


if __name__ == "__main__":
    main()

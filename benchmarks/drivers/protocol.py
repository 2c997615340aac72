"""A driver: a process that gets tasks, with one JSON line for each task and one for each answer.

A driver runs in the environment of its library, so this module needs the standard library alone. The process starts
with the URL of an empty database. Its first line describes it: `{"name", "version", "tasks"}`. Then it reads tasks from
its standard input, such as `{"task": "together", "workflows": 500, "at_once": 50}`. It answers each with its
measurements, or with `{"failed": reason}`. It ends when its input ends.

All libraries do the same work: a step returns the number it was given, and a workflow returns the sum of its steps.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import sys
import time
import traceback
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["STEPS", "Clock", "Driver", "expected", "rss_mb", "serve", "sliding", "stamps", "step_body"]

STEPS = 5
"""Steps of a workflow in `together`."""
_MEGABYTE = 1 << 20


def expected(steps: int) -> int:
    """Return what a workflow of so many steps must return."""
    return steps * (steps - 1) // 2


stamps: deque[float] = deque(maxlen=100_000)
"""When the last steps ran."""


def step_body(number: int) -> int:
    """Do the work of a step in every library: read the clock, and return the number."""
    stamps.append(time.perf_counter())
    return number


def rss_mb() -> float:
    """Return the resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - cheap, and within measurements
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


class Clock:
    """The seconds of a block, and the CPU seconds of this process in it."""

    def __enter__(self) -> Self:
        self._cpu, self._began = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self.cpu = time.process_time() - self._cpu

    def said(self, **more: object) -> dict[str, object]:
        """Return the answer of a task that took this long."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": self.seconds, "cpu": self.cpu, "rss_mb": round(peak, 1), **more}


async def sliding(count: int, at_once: int, one: Callable[[], Awaitable[bool]]) -> tuple[list[float], int]:
    """Call `one` so often, with `at_once` calls in flight at every moment; return the seconds of each and the failures.

    A call that raises or returns False has failed.
    """
    todo = iter(range(count))
    took: list[float] = []
    failed = 0

    async def lane() -> None:
        nonlocal failed
        for _ in todo:
            began = time.perf_counter()
            try:
                right = await one()
            except Exception as error:  # noqa: BLE001 - a failed workflow is a result, and is counted
                right = False
                print(f"{type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
            took.append(time.perf_counter() - began)
            failed += not right

    await asyncio.gather(*[lane() for _ in range(min(count, at_once))])
    return took, failed


class Driver:
    """A library. A subclass says how it starts a workflow and what must be in its log."""

    name = ""
    loop: Callable[..., Any] = staticmethod(asyncio.run)
    """What runs the loop that the library recommends."""

    def __init__(self, url: str) -> None:
        self.url = url

    def version(self) -> str:
        """Return the version of the library."""
        raise NotImplementedError

    async def open(self) -> None:
        """Make the tables, and start a worker."""

    async def close(self) -> None:
        """Stop."""

    async def run(self, steps: int) -> bool:
        """Start a workflow and wait for its result; return whether it is right."""
        raise NotImplementedError

    async def wrong(self) -> int:
        """Return how many workflows since the last call have an incomplete log, or did not end as they should."""
        raise NotImplementedError

    async def warm_up(self, seconds: float = 1.0) -> dict[str, object]:
        """Run workflows, the first one alone, for at least this long: a steady rate is measured, for all."""
        with Clock() as clock:
            _, failed = await sliding(1, 1, lambda: self.run(STEPS))
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                failed += (await sliding(20, 4, lambda: self.run(STEPS)))[1]
        return clock.said(wrong=failed + await self.wrong())

    async def sequential(self, steps: int) -> dict[str, object]:
        """Run one workflow of so many steps."""
        with Clock() as clock:
            _, failed = await sliding(1, 1, lambda: self.run(steps))
        return clock.said(count=steps, wrong=failed + await self.wrong())

    async def together(self, workflows: int, at_once: int, steps: int = STEPS) -> dict[str, object]:
        """Run so many workflows, with `at_once` in flight at every moment."""
        with Clock() as clock:
            took, failed = await sliding(workflows, at_once, lambda: self.run(steps))
        right = workflows - failed
        return clock.said(count=right * steps, workflows=right, wrong=failed + await self.wrong(), took=took)

    async def growth(self, steps: int) -> dict[str, object]:
        """Run one long workflow; tell the seconds of a step in each tenth of it."""
        stamps.clear()
        with Clock() as clock:
            _, failed = await sliding(1, 1, lambda: self.run(steps))
        if len(stamps) < steps:
            raise RuntimeError(f"the workflow ended after {len(stamps):,} of {steps:,} steps")
        tenth = steps // 10
        edges = [stamps[place] for place in range(0, steps, tenth)] + [stamps[steps - 1]]
        each = [(after - before) / tenth for before, after in pairwise(edges)]
        return clock.said(count=steps, wrong=failed + await self.wrong(), each=each)

    async def latency(self, workflows: int) -> dict[str, object]:
        """Run so many workflows of one step, one after another."""
        return await self.together(workflows, 1, 1)

    async def nothing(self, seconds: float) -> dict[str, object]:
        """Be idle for so long."""
        with Clock() as clock:
            await asyncio.sleep(seconds)
        return clock.said(resident=rss_mb())

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        """Return what this driver can do; the parameters are those of the task."""
        return {
            "warm_up": self.warm_up,
            "sequential": self.sequential,
            "together": self.together,
            "latency": self.latency,
            "growth": self.growth,
            "nothing": self.nothing,
        }


def serve(make: Callable[[str], Driver]) -> None:
    """Be the process: do tasks until the input ends."""
    driver = make(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")  # a library may print; what it prints goes to the log
    os.dup2(2, 1)
    driver.loop(_serve(driver, lambda line: print(json.dumps(line), file=answers, flush=True)))


async def _serve(driver: Driver, answer: Callable[[dict[str, object]], None]) -> None:
    tasks = driver.tasks()
    await driver.open()
    try:
        answer({
            "name": driver.name, "version": driver.version(), "python": platform.python_version(), "tasks": list(tasks)
        })  # fmt: skip
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked: dict[str, Any] = json.loads(line)
            try:
                answer(await tasks[asked.pop("task")](**asked))
            except Exception as error:  # noqa: BLE001 - the benchmark decides
                traceback.print_exc()
                answer({"failed": f"{type(error).__name__}: {str(error)[:300]}"})
    finally:
        await driver.close()

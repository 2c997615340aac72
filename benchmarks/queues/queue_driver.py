"""A driver of a queue: this process enqueues jobs, and a process of the library's own worker runs them.

A subclass names the command of the worker and enqueues a job. The measurements are the same for all.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from benchmarks.drivers.protocol import Clock, Driver, sliding
from benchmarks.queues.jobs import FREE, PIPE, Seen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["INSIDE", "QueueDriver", "queue_url"]

URL: Final = "ROMANCY_BENCH_QUEUE"
"""The environment variable with the URL, for workers."""
INSIDE: Final = "ROMANCY_BENCH_INSIDE"
"""If this environment variable is set, the starter works itself, and there is no other process."""
PATIENCE: Final = 240.0
"""Seconds for one burst."""
CALLERS: Final = 50
"""Callers that enqueue at once, where a call is awaited. Libraries with blocking calls have one caller."""
WARM_UP: Final = 100
REST: Final = 0.5
"""Seconds in which a worker records what it has run."""
PAUSES: Final = (0.02, 0.08)
"""Between lone jobs, seconds at random: no job meets a worker that is busy with the one before, or in step with it."""
_TERM_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG"""


def queue_url() -> str:
    """Return the URL of the queue: in a worker the starter's, in a starter its argument."""
    return os.environ.get(URL) or (sys.argv[1] if len(sys.argv) > 1 else "")


class QueueDriver(Driver):
    """A library. A subclass enqueues jobs of some kinds and says how its worker starts."""

    kinds: ClassVar[Sequence[str]] = (FREE,)
    """Those of `jobs`: without a limit, and the limits that the library has."""
    blocks: ClassVar[bool] = False
    """Whether `enqueue` and `result` block the process, so that there is one caller."""
    in_bulk: ClassVar[bool] = False
    """Whether `enqueue_many` exists."""
    results: ClassVar[bool] = False
    """Whether `result` exists."""
    inside: ClassVar[bool] = False
    """Whether the starter can work itself."""

    def worker(self) -> Sequence[str]:
        """Return the command of the worker."""
        raise NotImplementedError

    async def connect(self) -> None:
        """Make the tables, and what enqueues."""

    async def disconnect(self) -> None:
        """Undo it."""

    async def enqueue(self, number: int, kind: str) -> Any:
        """Enqueue a job, and return its handle."""
        raise NotImplementedError

    async def enqueue_many(self, numbers: Sequence[int], kind: str) -> None:
        """Enqueue these jobs with one call."""
        raise NotImplementedError

    async def enqueue_for_result(self, number: int) -> Any:
        """Enqueue a job whose result somebody waits for, if the library tells the two apart."""
        return await self.enqueue(number, FREE)

    async def result(self, handle: Any) -> int:
        """Wait for the result of a job, as the library does."""
        raise NotImplementedError

    async def open(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="romancy-bench-queue-"))
        self._seen = Seen(self._folder / "ran")
        self._seen.__enter__()
        self._worker: subprocess.Popen[bytes] | None = None
        os.environ[PIPE] = str(self._folder / "ran")
        await self.connect()
        if INSIDE in os.environ:
            return
        paths = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
        self._worker = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
            self.worker(), stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent,  # noqa: PLW1509 - one thread
            env={**os.environ, URL: self.url, "PYTHONPATH": paths},
        )  # fmt: skip

    async def close(self) -> None:
        if self._worker is not None:
            _end(self._worker)
        self._seen.__exit__()
        await self.disconnect()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def warm_up(self, seconds: float = 1.0) -> dict[str, object]:
        """Wait until the worker works, and run some jobs of each kind."""
        wrong = 0
        with Clock() as clock:
            for kind in self.kinds:
                for jobs in (1, WARM_UP):
                    wrong += (await self._burst(jobs, kind, bulk=False))[1]
            if self.results:
                wrong += int(await self.result(await self.enqueue_for_result(1)) != 1)
        return clock.said(
            wrong=wrong, kinds=list(self.kinds), bulk=self.in_bulk, results=self.results, inside=self.inside
        )

    async def burst(self, jobs: int, kind: str, *, bulk: bool = False) -> dict[str, object]:
        """Enqueue so many jobs while the worker runs them, each with a call of its own or all with one."""
        with Clock() as clock:
            seconds, wrong = await self._burst(jobs, kind, bulk=bulk)
        return clock.said(count=jobs, wrong=wrong) | {"seconds": seconds}

    async def _burst(self, jobs: int, kind: str, *, bulk: bool) -> tuple[float, int]:
        """Return the seconds until the last job ran, and how many did not run once."""
        self._seen.begin(jobs)
        todo = iter(range(jobs))

        async def one() -> bool:
            await self.enqueue(next(todo), kind)
            return True

        began, failed = time.perf_counter(), 0
        if bulk:
            await self.enqueue_many(range(jobs), kind)
        else:
            _, failed = await sliding(jobs, 1 if self.blocks else CALLERS, one)
        await self._until_seen()
        seconds = self._seen.at - began
        await asyncio.sleep(REST)
        return seconds, failed + self._seen.wrong()

    async def lone(self, jobs: int, kind: str) -> dict[str, object]:
        """Enqueue one job after another, each to an idle worker; return the seconds until this process sees it run."""
        took: list[float] = []
        wrong = 0
        with Clock() as clock:
            async for number in _with_pauses(jobs):
                self._seen.begin(1)
                began = time.perf_counter()
                await self.enqueue(number, kind)
                await self._until_seen()
                took.append(self._seen.at - began)
                wrong += self._seen.wrong()
        return clock.said(count=jobs, wrong=wrong, took=took)

    async def lone_results(self, jobs: int) -> dict[str, object]:
        """Enqueue one job after another; return the seconds until each has returned its result."""
        took: list[float] = []
        wrong = 0
        with Clock() as clock:
            async for number in _with_pauses(jobs):
                began = time.perf_counter()
                wrong += int(await self.result(await self.enqueue_for_result(number)) != number)
                took.append(time.perf_counter() - began)
        return clock.said(count=jobs, wrong=wrong, took=took)

    async def _until_seen(self) -> None:
        waiting = asyncio.create_task(self._seen.all(PATIENCE))
        try:
            while not waiting.done():
                await asyncio.wait([waiting], timeout=1)
                if not waiting.done() and self._worker is not None and self._worker.poll() is not None:
                    raise RuntimeError(f"the worker ended with {self._worker.returncode}; the log says why")
        finally:
            waiting.cancel()
        await waiting

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return {"warm_up": self.warm_up, "burst": self.burst, "lone": self.lone, "lone_results": self.lone_results}


class _with_pauses:  # noqa: N801 - used as a function
    """Count to `jobs`, with a pause before each."""

    def __init__(self, jobs: int) -> None:
        self._numbers = iter(range(jobs))
        self._random = random.Random(57)

    def __aiter__(self) -> _with_pauses:
        return self

    async def __anext__(self) -> int:
        number = next(self._numbers, None)
        if number is None:
            raise StopAsyncIteration
        await asyncio.sleep(self._random.uniform(*PAUSES))
        return number


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(5)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def _end_with_parent() -> None:
    """In the worker: end when the starter is killed."""
    ctypes.CDLL(None).prctl(_TERM_WITH_PARENT, signal.SIGTERM)

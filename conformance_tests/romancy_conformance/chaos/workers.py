"""The worker processes of a round, from the side of the process that applies faults to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

import romancy_conformance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from romancy_conformance.chaos.worker import Job

__all__ = ["ByTurns", "Makes", "Nursery", "Worker", "Works", "put_tree", "stopped"]

_MODULE = "romancy_conformance.chaos.worker"


def put_tree(tree: str, folder: Path) -> Path:
    """Return the source tree for a folder, or for a commit of this repository, which is exported into `folder`."""
    if Path(tree).is_dir():
        return Path(tree).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--show-toplevel"]
    top = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    command = ["git", "-C", top, "archive", tree, "romancy", "backends"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder.resolve()


class Works(Protocol):
    """One worker process."""

    pid: int

    async def status(self) -> int | None:
        """Return how it ended, or None while it runs."""
        ...

    async def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        ...

    async def stop(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; return how it ended."""
        ...

    async def kill(self) -> None:
        """End it at once, even when frozen."""
        ...


async def stopped(worker: Works, number: signal.Signals) -> int:
    """Send a worker, which may be frozen, a signal that ends it; return how it ended."""
    await worker.send(signal.SIGCONT)
    await worker.send(number)
    while (status := await worker.status()) is None:  # noqa: ASYNC110 - another process ends
        await asyncio.sleep(0.02)
    return status


class Makes(Protocol):
    """A source of workers."""

    async def make(self, job: Job) -> Works:
        """Make one more worker."""
        ...


class ByTurns:
    """Workers of several nurseries in turn: one of the next nursery replaces a worker that is killed or drained."""

    def __init__(self, nurseries: Sequence[Makes]) -> None:
        self._nurseries = cycle(nurseries)

    async def make(self, job: Job) -> Works:
        """Make one more worker, from the next nursery."""
        return await next(self._nurseries).make(job)


class Nursery:
    """The process that forks workers, one order at a time.

    With `tree`, its workers run the Romancy of that source tree, and the programs of this one.
    """

    def __init__(self, tree: Path | None = None) -> None:
        path = [*filter(None, sys.path)]
        if tree is not None:
            programs = Path(romancy_conformance.__path__[0]).parent
            path = [str(tree), str(tree / "backends"), str(programs)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._one = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.to_thread(self._process.wait)
        if self._process.stdout is not None:
            self._process.stdout.close()

    async def make(self, job: Job) -> Worker:
        """Make one more worker."""
        return Worker(int(await self._order(f"work {msgspec.json.encode(job).decode()}")), self)

    async def tree(self) -> Path:
        """Return the source tree that its workers run."""
        return Path(await self._order("tree "))

    async def ended(self, pid: int) -> int | None:
        """Return how this worker ended, or None while it runs. Ask until it has ended, and not again."""
        answer = await self._order(f"wait {pid}")
        return None if answer == "alive" else int(answer)

    async def _order(self, line: str) -> str:
        async with self._one:
            return await asyncio.to_thread(self._ask, line)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


class Worker:
    """One process. No other process has its id until its end has been asked for."""

    def __init__(self, pid: int, nursery: Nursery) -> None:
        self.pid = pid
        self._nursery = nursery
        self._status: int | None = None
        self._asking = asyncio.Lock()

    async def status(self) -> int | None:
        """Return how it ended, or None while it runs."""
        async with self._asking:
            if self._status is None:
                self._status = await self._nursery.ended(self.pid)
            return self._status

    async def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if await self.status() is None:
            os.kill(self.pid, number)

    async def stop(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; return how it ended."""
        return await stopped(self, number)

    async def kill(self) -> None:
        """End it at once, even when frozen."""
        await self.send(signal.SIGKILL)
        while await self.status() is None:  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.01)

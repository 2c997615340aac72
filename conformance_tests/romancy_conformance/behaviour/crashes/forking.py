"""Worker processes that may die at any write, and the two ends of the pipe through which a test controls them.

A workshop is a process that has imported everything and runs no event loop: it forks a worker in milliseconds. It reads
jobs, one JSON object on each line, and answers each with the exit status of its worker: 0 if all instances have ended,
3 if they did not in time, negative for the signal that killed it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Final, Self, TypeVar

import msgspec

from romancy_conformance.failpoint import Failpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

__all__ = ["TOO_LATE", "Job", "Workshop", "serve"]

TOO_LATE: Final = 3
"""The status of a worker whose time ran out."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one worker."""

    url: str
    fail: str = ""
    """The failpoint that kills it; empty for none."""
    limit: float = 120.0
    """Seconds until it gives up."""

    def arm(self, *, counting: bool = True) -> Failpoint | None:
        """Arm the failpoint of the job in this process."""
        point = Failpoint(self.fail, counting=counting) if self.fail else None
        if point is not None:
            point.arm()
        return point


_SomeJob = TypeVar("_SomeJob", bound=Job)


class Workshop:
    """A workshop from the test's side; its module calls `serve`."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    async def run(self, job: Job) -> int:
        """Run one worker to its end, and return its status."""
        return await asyncio.to_thread(self._ask, msgspec.json.encode(job).decode())

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def serve(kind: type[_SomeJob], play: Callable[[_SomeJob], Coroutine[None, None, int]]) -> None:
    """Be a workshop until the standard input ends."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _work(line, kind, play)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _work(line: str, kind: type[_SomeJob], play: Callable[[_SomeJob], Coroutine[None, None, int]]) -> None:
    status = 1
    try:
        status = asyncio.run(play(msgspec.json.decode(line, type=kind)))
    except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)

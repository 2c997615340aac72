"""Gives a thread to runs and back to its host: the host's task, its generator hooks and the seams of asyncio.

This costs more than most drives. Code that drives many runs in a row does it once for all of them: `with driving():`.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import sys
import threading
from typing import TYPE_CHECKING, Any

from romancy.core._generators import OWNERS
from romancy.core._stable import seams

if TYPE_CHECKING:
    from types import TracebackType

    from romancy.core._generators import Generator
    from romancy.core._loop import DeterministicLoop

__all__ = ["ThreadState", "driving", "is_in_a_workflow", "threads"]

_swap_current_task: Any = getattr(asyncio.tasks, "_swap_current_task", None)


class ThreadState:
    """A thread: how many drives have entered it, and the state of its host."""

    __slots__ = ("_hooks", "_task", "depth", "host", "running")

    def __init__(self) -> None:
        self.running: DeterministicLoop | None = None
        """The loop of the run that is being driven."""
        self.host: asyncio.AbstractEventLoop | None = None
        """The loop that runs here when no run is being driven."""
        self.depth = 0
        self._task: asyncio.Task[Any] | None = None
        self._hooks: Any = (None, None)

    def enter(self) -> None:
        """Enter the thread. The first to enter takes the host off its loop."""
        if not self.depth:
            self.host = asyncio._get_running_loop()
            if _swap_current_task is not None:
                self._leave_host()
            self._hooks = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(_meet, _abandon)
            seams.close()
        self.depth += 1

    def leave(self) -> None:
        """Leave the thread. The last to leave restores everything."""
        self.depth -= 1
        if not self.depth:
            sys.set_asyncgen_hooks(*self._hooks)
            seams.open()
            if self._task is not None:
                _swap_current_task(self.host, self._task)
                self._task = None
            self.host = None

    def _leave_host(self) -> None:
        """Take the host's task off its loop: from Python 3.14 on, no other loop may run a task while it is there."""
        if self.host is not None:
            self._task = asyncio.current_task(self.host)
            if self._task is not None:
                _swap_current_task(self.host, None)


def _meet(generator: Generator) -> None:
    """A generator takes its first step: it belongs to the run that is being driven."""
    running = threads.state.running
    if running is not None:
        running.meet_generator(generator)


def _abandon(generator: Generator) -> None:
    owner = OWNERS.pop(id(generator), None)
    if owner is not None:
        owner.abandon_generator(generator)


class _Threads(threading.local):
    """`threads.state` is the state of the current thread."""

    def __init__(self) -> None:
        self.state = ThreadState()


threads = _Threads()


class driving:  # noqa: N801 - read as a verb: `with driving():`
    """Drive several runs in a row. Between them the block must be synchronous and iterate no async generator."""

    __slots__ = ("_thread",)

    def __enter__(self) -> None:
        self._thread = threads.state
        self._thread.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._thread.leave()


def is_in_a_workflow() -> bool:
    """Whether the code of a workflow runs."""
    return threads.state.running is not None

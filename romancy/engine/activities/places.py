"""The kinds of slots on which attempts run, and the places that threads and processes have.

An attempt at a plain function takes a slot of the event loop, and then waits for a thread or a process.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Any, Literal

__all__ = ["Kind", "Places", "kind_of"]


class Kind(IntEnum):
    """The slots that work needs, the scarcer the later."""

    NONE = 0
    LOOP = 1
    THREAD = 2
    PROCESS = 3


def kind_of(definition: Any) -> Kind:
    """The slots that an activity or a compensation needs."""
    if definition.is_async:
        return Kind.LOOP
    return Kind.PROCESS if getattr(definition, "executor", "thread") == "process" else Kind.THREAD


class Places(asyncio.Semaphore):
    """A semaphore that tells how many places are free, and which tasks wait for one."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
        self.free = limit
        self.waiting: set[asyncio.Task[Any] | None] = set()
        """The tasks that wait for a place. What they are to run has not begun."""

    async def acquire(self) -> Literal[True]:
        """Take a place, after those who have waited longer."""
        task = asyncio.current_task()
        self.waiting.add(task)
        try:
            await super().acquire()
        finally:
            self.waiting.discard(task)
        self.free -= 1
        return True

    def release(self) -> None:
        """Give a place back."""
        self.free += 1
        super().release()

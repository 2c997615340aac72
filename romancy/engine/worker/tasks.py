"""The tasks of one worker: those that run as long as the worker, and short ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy._logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Tasks"]

logger = get_logger("romancy.engine")


class Tasks:
    """Tasks that are cancelled together. One that stops by an error is logged."""

    def __init__(self) -> None:
        self._lasting: dict[asyncio.Task[None], None] = {}
        self._passing: dict[asyncio.Task[None], None] = {}
        """In the order in which they began, in which they are cancelled."""
        self.interrupted = False
        """Whether the event loop has cancelled a lasting task, as it does when it closes (after a second Ctrl-C)."""
        self._cancelled = False

    @property
    def idle(self) -> bool:
        """Whether only lasting tasks run."""
        return not self._passing

    def last(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this as long as the worker."""
        task = self._begin(work, self._lasting)
        task.add_done_callback(self._ended)

    def spawn(self, work: Coroutine[Any, Any, None], *sets: set[asyncio.Task[None]]) -> None:
        """Run this once. While it runs, it is also in the `sets`."""
        task = self._begin(work, self._passing)
        for tasks in sets:
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def cancel(self) -> None:
        """Cancel all of them, and wait for their ends."""
        self._cancelled = True
        running = [*self._lasting, *self._passing]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None], tasks: dict[asyncio.Task[None], None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        tasks[task] = None
        task.add_done_callback(tasks.pop)
        task.add_done_callback(self.done)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.interrupted |= task.cancelled() and not self._cancelled

    def done(self, task: asyncio.Task[None]) -> None:
        """Log the error by which a task stopped."""
        if not task.cancelled() and task.exception() is not None:
            logger.critical("a part of the worker stopped", exc_info=task.exception())

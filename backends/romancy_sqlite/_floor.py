"""Who may write to a database in memory: one after the other, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import RLock

__all__ = ["Floor"]


class Floor:
    """Held by one session or writer. Others wait for it on their own event loops, which may be in several threads."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.taken = False
        """Read it under the lock: without a holder, the lock alone lets a caller write."""
        self._queue: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait behind those who came before, and hold the floor. `leave` gives it up."""
        with self._lock:
            if not self.taken:
                self.taken = True
                return
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(waiting)
        try:
            await waiting
        except BaseException:
            if not waiting.done():  # the coroutine was closed, perhaps after its loop
                with suppress(RuntimeError):
                    waiting.cancel()
            elif not waiting.cancelled():  # the floor had come already
                self.leave()
            raise

    def leave(self) -> None:
        """From any thread: the next one in the queue holds the floor."""
        with self._lock:
            while self._queue:
                waiting = self._queue.popleft()
                try:
                    waiting.get_loop().call_soon_threadsafe(self._give, waiting)
                except RuntimeError:
                    continue  # its loop is closed: nobody waits there any more
                return
            self.taken = False

    def _give(self, waiting: asyncio.Future[None]) -> None:
        if waiting.done():
            self.leave()  # the caller has gone away
        else:
            waiting.set_result(None)

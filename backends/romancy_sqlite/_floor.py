"""Who may write to a database in memory: one after the other, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
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
        self._queue: deque[_Waiter] = deque()

    async def take(self) -> None:
        """Wait behind those who came before, and hold the floor. `leave` gives it up."""
        with self._lock:
            if not self.taken:
                self.taken = True
                return
            waiter = _Waiter()
            self._queue.append(waiter)
        try:
            await waiter.told
        except BaseException:  # cancelled, or the coroutine was closed, perhaps after its loop
            self._give_up(waiter)
            raise

    def leave(self) -> None:
        """From any thread: the next one in the queue holds the floor."""
        with self._lock:
            while self._queue:
                waiter = self._queue.popleft()
                waiter.holds = True
                try:
                    waiter.told.get_loop().call_soon_threadsafe(waiter.tell)
                except RuntimeError:
                    waiter.holds = False  # its loop is closed: nobody waits there any more
                    continue
                return
            self.taken = False

    def _give_up(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.holds:
                self.leave()
            elif waiter in self._queue:
                self._queue.remove(waiter)


class _Waiter:
    """A place in the queue. It holds the floor from the moment it is given: its loop may never run again."""

    def __init__(self) -> None:
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.holds = False

    def tell(self) -> None:
        if not self.told.done():
            self.told.set_result(None)

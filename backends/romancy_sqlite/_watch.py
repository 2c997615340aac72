"""Who waits for news of a file: told at once by this process, found out by a cheap look for the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Watch"]

_SHORTEST_LOOK = 0.02
_LONGEST_LOOK = 0.3
_MOST_IDS = 1000


class Watch:
    """The news for one store. Nothing that was told between two calls of `wait` is lost."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._news: set[str] = set()
        self._everywhere = False
        self._arrived = asyncio.Event()
        self._pause = _SHORTEST_LOOK
        self._round = 0
        self._last: frozenset[str] | None = frozenset()

    def tell(self, instance_ids: set[str] | None) -> None:
        """From any thread: these instances changed (None: something did)."""
        try:
            self._loop.call_soon_threadsafe(self._hear, instance_ids)
        except RuntimeError:
            return  # the loop is closed: nobody is waiting there any more

    def _hear(self, instance_ids: set[str] | None) -> None:
        if instance_ids is None or len(self._news) > _MOST_IDS:
            self._everywhere = True
        else:
            self._news |= instance_ids
        self._arrived.set()

    async def wait(self, timeout: float) -> frozenset[str] | None:
        """The ids that changed, None for "look everywhere", or nothing after the time-out."""
        deadline = self._loop.time() + timeout
        entered = self._round
        while not self._arrived.is_set() and self._round == entered:
            left = deadline - self._loop.time()
            if left <= 0:
                return frozenset()
            try:
                async with asyncio.timeout(min(left, self._pause)):
                    await self._arrived.wait()
            except TimeoutError:
                self._pause = min(self._pause * 1.5, _LONGEST_LOOK)
                self._look()
                await asyncio.sleep(0)
        if self._round == entered:
            self._take()
        return self._last

    def _take(self) -> None:
        """Close the round: all who were waiting in it get the same news."""
        self._last = None if self._everywhere else frozenset(self._news)
        self._round += 1
        self._news = set()
        self._everywhere = False
        self._pause = _SHORTEST_LOOK
        self._arrived.clear()

    def end(self) -> None:
        """Let everybody who waits return."""
        self._arrived.set()

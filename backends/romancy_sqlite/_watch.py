"""Waits for changes of a file: this process reports its own at once, a cheap look finds those of others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy.storage.sqlkit.news import News, parted
from romancy_sqlite._ear import Ear

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Watch"]

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.3
_SLOWER = 1.5
_MOST_IDS = 1000


class Watch:
    """The changes for one store. It looks at the file at intervals while a caller waits."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._news = News(most=_MOST_IDS)
        self._outbox = News()
        """The same for the outbox: that there is news, or that there may be."""
        self._pause = _SHORTEST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._ear: Ear | None = None

    def hear_others(self, log: str, look: Callable[[], bool]) -> None:
        """Look as soon as another process announces a commit, where that can be heard."""
        self._ear = Ear(log, look)

    def tell(self, instance_ids: set[str] | None) -> None:
        """Report from any thread that these instances changed (None: any may have)."""
        try:
            self._loop.call_soon_threadsafe(self._hear, instance_ids)
        except RuntimeError:
            return  # the loop is closed: no caller waits there any more

    def look_now(self) -> None:
        """Look now, from any thread: a caller's transaction has ended, perhaps with a commit."""
        self.tell(None)

    def wait(self, timeout: float) -> Coroutine[Any, Any, frozenset[str] | None]:
        """The ids that changed, None for "look everywhere", or no ids after the time-out."""
        if self._timer is None:
            self._begin_to_look()
        return self._news.wait(timeout)

    async def wait_for_outbox(self, timeout: float) -> bool:
        """Whether the outbox may have news, or False after the time-out."""
        if self._timer is None:
            self._begin_to_look()
        return await self._outbox.wait(timeout) != frozenset()

    def _begin_to_look(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._look_again)

    def end(self) -> None:
        """Release all waiting callers."""
        if self._ear is not None:
            self._ear.close()
            self._ear = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._news.end()
        self._outbox.end()

    def _hear(self, instance_ids: set[str] | None) -> None:
        self._pause = _SHORTEST_PAUSE
        if self._timer is not None and self._timer.when() > self._loop.time() + self._pause:
            self._timer.cancel()  # it was set for an idle file
            self._timer = self._loop.call_later(self._pause, self._look_again)
        outbox, rest = parted(instance_ids)
        if outbox:
            self._outbox.hear(None)
        if rest is None or rest:
            self._news.hear(rest)

    def _look_again(self) -> None:
        self._timer = None
        if self._news.is_awaited or self._outbox.is_awaited:
            self._pause = min(self._pause * _SLOWER, _LONGEST_PAUSE)
            self._timer = self._loop.call_later(self._pause, self._look_again)
            self._look()

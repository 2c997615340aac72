"""Collects the changes that callers of one store wait for: ids of changed instances, or that any may have changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.storage.outbox import OUTBOX_NEWS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["News", "parted"]


def parted(changed: Iterable[str] | None) -> tuple[bool, Collection[str] | None]:
    """Whether the outbox may have news, and the instances that changed (None: any may have)."""
    if changed is None:
        return True, None
    ids = set(changed)
    return OUTBOX_NEWS in ids, ids - {OUTBOX_NEWS}


class News:
    """Keeps changes until a caller takes them. All callers that wait at a change get it. For one event loop."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        """More ids than this become "anything may have changed"."""
        self._kept: set[str] | None = set()
        """Changes that no caller has taken yet. None: anything may have changed."""
        self._waiters: list[asyncio.Future[frozenset[str] | None]] = []

    @property
    def is_awaited(self) -> bool:
        """Whether a caller waits."""
        return bool(self._waiters)

    def hear(self, changed: Collection[str] | None) -> None:
        """Tell waiting callers that these instances changed (None: any may have); keep it if no caller waits."""
        if self._waiters and changed and self._kept == set() and len(changed) <= self._most:
            self._answer(frozenset(changed))  # nothing is to be kept
            return
        if changed is None or self._kept is None:
            self._kept = None
        else:
            self._kept.update(changed)
            if len(self._kept) > self._most:
                self._kept = None
        if self._waiters and self._kept != set():
            self._answer(self._take())

    async def wait(self, timeout: float) -> frozenset[str] | None:
        """The ids that changed. None if any may have changed. No ids after the time-out."""
        if self._kept is None or self._kept:
            return self._take()
        waiter: asyncio.Future[frozenset[str] | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        except asyncio.CancelledError:
            if waiter.done() and not waiter.exception():
                self.hear(waiter.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return waiter.result() if waiter.done() else frozenset()

    def end(self, error: Exception | None = None) -> None:
        """Release all waiting callers, with this error or as after the time-out."""
        if error is None:
            self._answer(frozenset())
            return
        for waiter in self._waiters:
            waiter.set_exception(error)
        self._waiters = []

    def _take(self) -> frozenset[str] | None:
        kept, self._kept = self._kept, set()
        return None if kept is None else frozenset(kept)

    def _answer(self, news: frozenset[str] | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.set_result(news)

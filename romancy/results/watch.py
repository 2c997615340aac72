"""Holds the callers that wait for the end of an instance, and the end once it is known, for the handles of one app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.core import Outcome

__all__ = ["Watch"]


class Watch:
    """Shared by all handles of one instance in this app. Holds the instance's end, or the callers waiting for news."""

    __slots__ = ("__weakref__", "_begun", "_used", "life", "outcome", "recorded", "waiting")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.life = 0
        """The life of the instance that ended with `outcome`."""
        self.recorded = 0
        """How many ends this app's worker has recorded. A handle uses only those recorded after it was made."""
        self._begun = 0
        """The life with which this app replaced another; 0 if none."""
        self._used = 0
        """The life of the last outcome that a caller has got; 0 if none."""
        self.waiting: list[asyncio.Future[None]] = []

    def begin(self, life: int) -> None:
        """Record that a new life of the id begins. The end of a former life no longer counts."""
        self._begun = life
        self.outcome = None
        self.tell()

    def end(self, life: int, outcome: Outcome | None) -> None:
        """Record the end of a life here, if there is an outcome. The end of a replaced life is ignored.

        The end of a life is also ignored if a caller has already read it from the database: a later caller may ask for
        another life.
        """
        if self._begun in (0, life) and life != self._used:
            self.outcome, self.life = outcome, life
            self.recorded += 1
        self.tell()

    def is_current(self, life: int) -> bool:
        """Whether this app has not replaced this life. The worker holds a life for a moment after its end."""
        return self._begun in (0, life)

    def use(self) -> Outcome | None:
        """Give the outcome to one caller. A later caller asks the database: the instance may be gone by then."""
        outcome, self.outcome, self._used = self.outcome, None, self.life
        return outcome

    def is_gone(self) -> None:
        """Forget the outcome, and wake the callers."""
        self.outcome = None
        self.tell()

    def tell(self) -> None:
        """Wake all waiting callers: there may be news."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """A future that is done at the next `tell`, counted from this call and not from its `await`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

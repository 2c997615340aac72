"""The clock of a test: it stands still until it is moved."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING, Any, Final

from romancy.engine.clock import DatabaseClock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StandingClock"]

_MICROSECONDS: Final = 1_000_000


class _Call:
    """A call that waits for its due time."""

    __slots__ = ("args", "callback", "due", "number")

    def __init__(self, due: int, number: int, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.due = due
        self.number = number
        self.callback: Callable[..., None] | None = callback
        self.args = args

    def __lt__(self, other: _Call) -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def cancel(self) -> None:
        """Do not call."""
        self.callback, self.args = None, ()


class StandingClock(DatabaseClock):
    """The time of one test's database and of its worker, in microseconds."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self._now = start
        self._calls: list[_Call] = []
        self._numbers = itertools.count()
        self.awaited: Callable[[], None] = lambda: None
        """Called when a wait for a due time begins."""

    def observe(self, now: int) -> None:
        """Do nothing: the database reads this clock."""

    def now(self) -> int:
        return self._now

    def mark(self) -> int:
        return self._now

    def seconds_until(self, due: int) -> float:
        return max(0.0, (due - self._now) / _MICROSECONDS)

    def call_at(self, due: int, callback: Callable[..., None], *args: Any) -> _Call:
        call = _Call(due, next(self._numbers), callback, args)
        heapq.heappush(self._calls, call)
        if due <= self._now:
            asyncio.get_running_loop().call_soon(self._ring)
        else:
            self.awaited()
        return call

    @property
    def next_due(self) -> int | None:
        """The earliest due time; None if no call waits."""
        while self._calls and self._calls[0].callback is None:
            heapq.heappop(self._calls)
        return self._calls[0].due if self._calls else None

    def move_to(self, moment: int) -> None:
        """Move to that time, and make the calls that are due by then."""
        self._now = max(self._now, moment)
        self._ring()

    def _ring(self) -> None:
        while (due := self.next_due) is not None and due <= self._now:
            call = heapq.heappop(self._calls)
            callback, args = call.callback, call.args
            call.cancel()
            if callback is not None:
                asyncio.get_running_loop().call_soon(callback, *args)

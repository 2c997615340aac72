"""The database's time, estimated between heartbeats, and the machine's time since boot.

The estimate dates events and decides when to poll. It never decides which worker may write, so correctness does not
depend on it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from romancy.engine.surroundings import PROCESS, here

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.surroundings import Surroundings

__all__ = ["DatabaseClock", "Timer", "boot_time"]

_LONGEST: Final = 3600.0


def boot_time() -> int:
    """Time since boot, in microseconds."""
    loop: object = asyncio._get_running_loop()  # noqa: SLF001 - `here`, without a call
    surroundings: Surroundings = getattr(loop, "surroundings", PROCESS)
    return surroundings.since_boot() // 1000


class Timer(Protocol):
    """A call that was put off."""

    def cancel(self) -> None:
        """Cancel the call."""
        ...


class DatabaseClock:
    """The database's time in microseconds. When the database's clock is put back, this clock follows."""

    __slots__ = ("_last", "_local", "_offset")

    def __init__(self, local: Callable[[], int] | None = None) -> None:
        """`local` returns the machine's own time in nanoseconds."""
        self._local = local = local or here().since_boot
        self._offset = (here().wall() - local()) // 1000
        self._last = 0

    def observe(self, now: int) -> None:
        """Adjust the estimate to `now`, which the database has just reported."""
        self._offset = now - self._local() // 1000

    def now(self) -> int:
        """The estimated time."""
        return self._local() // 1000 + self._offset

    def mark(self) -> int:
        """The estimated time, but never less than the last mark: numbers taken from marks stay in order."""
        self._last = max(self._last, self.now())
        return self._last

    def seconds_until(self, due: int) -> float:
        """How many seconds remain until a moment in the database's time; at least 0."""
        return max(0.0, (due - self._local() // 1000 - self._offset) / 1_000_000)

    def call_at(self, due: int, callback: Callable[..., None], *args: Any) -> Timer:
        """Call back on the event loop at a moment in the database's time, and at the latest in an hour.

        The callback checks whether the moment has come: the database's clock may have been put forward or back.
        """
        wait = min(self.seconds_until(due), _LONGEST)
        return asyncio.get_running_loop().call_later(wait, callback, *args)

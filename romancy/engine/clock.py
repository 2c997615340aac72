"""The database's time, estimated between heartbeats, and the age of the last proof that this worker is alive.

Nothing that must be right depends on the estimate: it dates events and decides when to look, never who may write.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DatabaseClock", "boot_time"]


_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


_nanoseconds: Final[Callable[[], int]] = partial(time.clock_gettime_ns, _CLOCK)
"""Since boot, counting the time a suspended machine slept, where the system can tell."""


def boot_time() -> int:
    """The same in microseconds."""
    return _nanoseconds() // 1000


class DatabaseClock:
    """What time it is in the database, in microseconds; where its clock is put back, this follows."""

    __slots__ = ("_last", "_local", "_offset")

    def __init__(self, local: Callable[[], int] = _nanoseconds) -> None:
        """`local`: the machine's own clock, in nanoseconds."""
        self._local = local
        self._offset = (time.time_ns() - local()) // 1000
        self._last = 0

    def observe(self, now: int) -> None:
        """The database has just said what time it is."""
        self._offset = now - self._local() // 1000

    def now(self) -> int:
        """The estimate."""
        return self._local() // 1000 + self._offset

    def mark(self) -> int:
        """The estimate, or what was told here last if that is later: what is numbered by it stays in order."""
        self._last = max(self._last, self.now())
        return self._last

    def seconds_until(self, due: int) -> float:
        """How long to wait for a moment in the database's time; at least 0."""
        return max(0.0, (due - self._local() // 1000 - self._offset) / 1_000_000)

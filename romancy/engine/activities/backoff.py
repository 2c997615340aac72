"""How long to wait before work that the database took away is tried again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Backoff"]

_SHORTEST: Final = 0.05
_LONGEST: Final = 5.0


class Backoff:
    """A jittered pause, as long as the time since the first loss without a success, within limits.

    A lost deadlock is therefore tried again almost at once, and a database that is away for minutes is not asked to
    repeat everything all the time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost_since: float | None = None

    def lost(self) -> float:
        """Note a loss and return the seconds until the next try."""
        now = self._clock()
        if self._lost_since is None:
            self._lost_since = now
        pause = min(max(now - self._lost_since, _SHORTEST), _LONGEST)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def succeeded(self) -> None:
        """Note that the database works."""
        self._lost_since = None

"""How long to wait before what the database took away is tried again."""

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
    """As long as nothing has succeeded, within bounds and jittered.

    So a lost deadlock is tried again at once, and a database that is away for minutes does not have everything done
    again and again meanwhile.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost_since: float | None = None

    def lost(self) -> float:
        """Something was lost: seconds until it is to be tried again."""
        now = self._clock()
        if self._lost_since is None:
            self._lost_since = now
        pause = min(max(now - self._lost_since, _SHORTEST), _LONGEST)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def succeeded(self) -> None:
        """The database works."""
        self._lost_since = None

"""Computes the pause before the engine retries work that failed because of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Backoff"]

_SHORTEST: Final = 0.05
_LONGEST: Final = 5.0


class Backoff:
    """A jittered pause that grows with the time since the first failure, within limits.

    A transaction that lost a deadlock is therefore retried almost at once. A database that is away for minutes gets few
    retries.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or here().seconds
        self._lost_since: float | None = None

    def lost(self) -> float:
        """Record a failure and return the seconds until the next try."""
        now = self._clock()
        if self._lost_since is None:
            self._lost_since = now
        pause = min(max(now - self._lost_since, _SHORTEST), _LONGEST)
        return pause * here().uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """Record that the database works."""
        self._lost_since = None

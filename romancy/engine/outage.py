"""Logs that the database is away: once, then every 30 seconds, and once when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outage"]

logger = get_logger("romancy.engine")

_SAY_EVERY: Final = 30.0


class Outage:
    """What of one app does not reach the database at present. All parts of a worker share one."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or here().seconds
        self._failing: set[str] = set()
        self._since = 0.0
        self._said = 0.0

    def failed(self, what: str, error: Exception) -> None:
        """This kind of work has failed, and will be tried again."""
        now = self._clock()
        if not self._failing:
            self._since = self._said = now
            logger.warning("the database is away, and this worker tries again until it is back: %s: %s", what, error)
        elif now - self._said >= _SAY_EVERY:
            self._said = now
            logger.warning("the database has been away for %.0f s: %s: %s", now - self._since, what, error)
        self._failing.add(what)

    def answered(self, what: str) -> None:
        """This kind of work has succeeded. The database is back once that holds for each kind that has failed."""
        if what not in self._failing:
            return
        self._failing.discard(what)
        if not self._failing:
            logger.warning("the database is back after %.0f s", self._clock() - self._since)

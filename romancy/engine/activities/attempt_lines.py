"""Keeps the log lines of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from romancy.engine.instance import Live
    from romancy.engine.line_keeper import LineKeeper

__all__ = ["AttemptLines"]


class AttemptLines:
    """Keeps the lines of one attempt at an activity."""

    __slots__ = ("_attempt", "_keeper", "_live", "level")

    def __init__(self, keeper: LineKeeper, live: Live, activity_id: str, attempt: int) -> None:
        self.level = keeper.level
        self._keeper, self._live, self._attempt = keeper, live, (activity_id, attempt)

    def keep(self, record: logging.LogRecord) -> None:
        live = self._live
        started = live.run.state.started
        self._keeper.keep(record, (live.instance_id, live.life), 1 if started is None else started.run, *self._attempt)

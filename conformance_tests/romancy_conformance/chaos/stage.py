"""Where a round plays: its clock, and the process and the apps in which an activity runs.

Real processes have those of the operating system. A simulation puts others in their places.
"""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy import Romancy

__all__ = ["APPS", "Stage", "stage"]


class Stage:
    """What all processes of a round share."""

    def __init__(self) -> None:
        self.moment: Callable[[], float] = time.monotonic
        """A clock, in seconds, that is the same in all processes."""
        self.zero = time.time() - time.monotonic()
        """The time of day, in seconds since 1970, at which `moment` was 0."""
        self.behind: Callable[[], float] = float
        """By how many seconds the database's clock has told too little until now, at most."""
        self.calm: Callable[[], object] = lambda: None
        """Makes the wires reliable from now on, where that can be done."""
        self.is_quick = False
        """Whether time passes in no time."""
        self.process: Callable[[], int] = os.getpid
        self.threads = True
        """Whether plain functions run on threads, where they may wait."""
        self.most = 40
        """The most activities of an instance of a shape. It is stopped after a time in proportion."""

    def time_of_day(self, moment: float) -> datetime:
        """The true time of day at such a moment."""
        return datetime.fromtimestamp(self.zero + moment, UTC)


stage = Stage()
APPS: ContextVar[dict[bool, Romancy]] = ContextVar("APPS")
"""The apps of this process, for its activities: the one that seals (True), and the other."""

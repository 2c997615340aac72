"""Faults inside of a worker process, which a signal brings on: a clock that jumps, and a disk that is full.

The process has the handlers from its fork on, so that the signals never end it.
"""

from __future__ import annotations

import random
import resource
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from romancy.engine.clock import DatabaseClock

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["CLOCK", "FULL", "ail"]

CLOCK, FULL = signal.SIGUSR1, signal.SIGUSR2
_LASTS = 1.0
_JUMPS = (-50_000, -5_000, 5_000, 50_000)
"""In microseconds. Programs tell delays apart that are much longer."""


class _JumpingClock:
    """Reports other times to every clock of the process, for a while."""

    def __init__(self) -> None:
        self._jumps = 0
        self._chance = random.Random(0)
        self._observe = DatabaseClock.observe

    def install(self) -> None:
        """Stand between all clocks and what they observe."""
        observe = self._observe

        def jumping(clock: DatabaseClock, now: int) -> None:
            if self._jumps > 0:
                self._jumps -= 1
                now += self._chance.choice(_JUMPS)
            observe(clock, now)

        DatabaseClock.observe = jumping  # type: ignore[method-assign]  # pyright: ignore[reportAttributeAccessIssue]

    def jump(self, number: int, frame: FrameType | None) -> None:
        """Let the next hundred observations jump."""
        self._jumps = 100


def _fill(path: Path) -> None:
    """Let no file of this process grow beyond the database's size. Each write that would do so fails."""
    sizes = [file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists()]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes, default=0) + 1, hard))
    threading.Timer(_LASTS, resource.setrlimit, (resource.RLIMIT_FSIZE, (soft, hard))).start()


def ail(url: str) -> None:
    """Let the signals bring on the faults. Only a database in a file has a disk that is full."""
    clock = _JumpingClock()
    clock.install()
    signal.signal(CLOCK, clock.jump)
    if url.startswith("sqlite:"):
        signal.signal(FULL, lambda number, frame: _fill(Path(urlsplit(url).path.removeprefix("/"))))
    else:
        signal.signal(FULL, signal.SIG_IGN)

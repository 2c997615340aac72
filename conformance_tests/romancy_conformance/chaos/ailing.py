"""Faults inside of a worker process, which a signal brings on: a clock that jumps, and a disk that is full.

The process has the handlers from its fork on, so that the signals never end it.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from romancy.engine.clock import DatabaseClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["CLOCK", "FULL", "ail"]

CLOCK: int = getattr(signal, "SIGUSR1", 0)
FULL: int = getattr(signal, "SIGUSR2", 0)
"""Windows has none, and no chaos."""
_LASTS = 1.0
_TRIES, _PAUSE = 200, 0.02
_MOST_PAGES = 4_294_967_294
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

        DatabaseClock.observe = jumping  # type: ignore[method-assign, assignment]  # pyright: ignore[reportAttributeAccessIssue]

    def jump(self, number: int, frame: FrameType | None) -> None:
        """Let the next hundred observations jump."""
        self._jumps = 100


class _Disk:
    """What the databases of the process lie on: when it is full, none of them grows. Other files do."""

    def __init__(self) -> None:
        self._told: SimpleQueue[None] = SimpleQueue()
        self._connections: list[sqlite3.Connection] = []
        self._connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def install(self) -> None:
        """Know every connection that the process opens."""

        def connect(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = self._connect(*args, **options)
            self._connections.append(connection)
            return connection

        sqlite3.connect = connect  # type: ignore[assignment]
        # The signal may come in the middle of a workflow's code, which begins no thread.
        threading.Thread(target=self._fill_when_told, daemon=True).start()

    def fill(self, number: int, frame: FrameType | None) -> None:
        """Be full for a while: each write that needs another page fails with SQLITE_FULL."""
        self._told.put(None)

    def _fill_when_told(self) -> None:
        while True:
            self._told.get()
            self._allow(1)  # SQLite takes the present size instead
            time.sleep(_LASTS)
            self._allow(_MOST_PAGES)

    def _allow(self, pages: int) -> None:
        """Set the limit of each connection, also of one that is in use, until it has taken it."""
        for connection in tuple(self._connections):
            for _ in range(_TRIES):
                try:
                    sqlite3.Cursor(connection).execute(f"pragma max_page_count = {pages}").close()
                    break
                except sqlite3.ProgrammingError:
                    break  # it is closed
                except sqlite3.Error:
                    time.sleep(_PAUSE)


def ail(url: str) -> None:
    """Let the signals bring on the faults. Only a database in a file has a disk that is full."""
    clock = _JumpingClock()
    clock.install()
    signal.signal(CLOCK, clock.jump)
    if url.startswith("sqlite:"):
        disk = _Disk()
        disk.install()
        signal.signal(FULL, disk.fill)
    else:
        signal.signal(FULL, signal.SIG_IGN)

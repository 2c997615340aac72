"""Processes tell each other of their commits, where the kernel passes it on: on Linux.

Whoever has committed news opens the write-ahead log for reading and closes it again. That changes nothing in any file,
takes a few microseconds, and the kernel tells every process that watches the log. SQLite itself opens the log for
writing, and locks nothing in it, so closing it gives no lock of this process away.

The kernel tells a process of its own commits as well. So whoever hears much hears less often.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ear", "announce"]

_READ_AND_CLOSED: Final = 0x10
"""IN_CLOSE_NOWRITE"""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
_SLOWER = 1.5
_SIZE: Final = 4096
"""Bytes of events that are read at once; what is left is heard after the pause."""


def announce(log: str) -> None:
    """Tell every process that watches the log, from any thread, that something was committed."""
    if sys.platform == "linux":
        with suppress(OSError):  # they look at intervals
            os.close(os.open(log, os.O_RDONLY | os.O_CLOEXEC))


class Ear:
    """Calls `look` when a commit was announced, for one event loop. After each time it hears nothing for a moment.

    The moment grows while announcements wait at its end, and is the shortest again after a silence. `look` returns
    whether it could look; otherwise it is called again.
    """

    def __init__(self, log: str, look: Callable[[], bool]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._end = _watched(log)
        self._pause = _SHORTEST_PAUSE
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._listen()

    def _listen(self) -> None:
        self._timer = None
        if self._end is None:
            return
        self._since = self._loop.time()
        try:
            self._loop.add_reader(self._end, self._hear)
        except NotImplementedError:  # an event loop that waits for sockets alone
            self.close()

    def _hear(self) -> None:
        if self._end is None:
            return
        self._loop.remove_reader(self._end)
        with suppress(BlockingIOError):
            os.read(self._end, _SIZE)
        if self._loop.time() - self._since > self._pause:
            self._pause = _SHORTEST_PAUSE
        else:
            self._pause = min(self._pause * _SLOWER, _LONGEST_PAUSE)
        self._timer = self._loop.call_later(self._pause, self._listen)
        self._look_now()

    def _look_now(self) -> None:
        if not self._look() and self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(self._pause, self._look_again)

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._listen)
        self._look_now()

    def close(self) -> None:
        """Hear nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._end is not None:
            with suppress(NotImplementedError):
                self._loop.remove_reader(self._end)
            os.close(self._end)
            self._end = None


def _watched(log: str) -> int | None:
    """Return a descriptor that is readable after each announcement. None where there is no such thing, or no more."""
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):  # a Python without it, a C library without it
            import ctypes  # noqa: PLC0415 - it may be missing

            library = ctypes.CDLL(None)
            end = int(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            if end < 0:  # this user has as many as the system allows
                return None
            if library.inotify_add_watch(end, os.fsencode(log), _READ_AND_CLOSED) >= 0:
                return end
            os.close(end)
    return None

"""While many workflows are at work, Python's garbage collector looks for garbage less eagerly.

A step makes some dozens of objects that die by themselves. With hundreds of workflows in hand the collector, as it is
set by default, would visit all that lives after every few steps: a fifth of what a step costs, to find nothing. So its
first threshold is raised for as long as batches keep coming and put back a moment after. The collector belongs to the
whole process: whoever has set it higher, switched it off, or sets it meanwhile keeps what they want.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Final

__all__ = ["GcPause"]

_OBJECTS: Final = 50_000
_MOMENT: Final = 1.0

_lock = threading.Lock()
_users = 0
_before = (0, 0, 0)


def _begin() -> None:
    global _users, _before  # noqa: PLW0603 - one collector per process
    with _lock:
        _users += 1
        if _users == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < _OBJECTS:
                gc.set_threshold(_OBJECTS, *_before[1:])


def _end() -> None:
    global _users  # noqa: PLW0603 - one collector per process
    with _lock:
        _users -= 1
        if not _users and gc.get_threshold() == (_OBJECTS, *_before[1:]):
            gc.set_threshold(*_before)


class GcPause:
    """What one worker asks of the collector."""

    def __init__(self) -> None:
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def for_a_moment(self) -> None:
        """A large batch is being driven, and more may follow."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + _MOMENT
        if self._timer is None:
            self._timer = loop.call_at(self._until, self._look)
            _begin()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            self._timer = loop.call_at(self._until, self._look)
        else:
            self.end()

    def end(self) -> None:
        """Nothing more will follow."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            _end()

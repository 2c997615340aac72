"""Raises the threshold of Python's garbage collector while many workflows are at work.

A step makes a few dozen objects, which reference counting frees. With hundreds of loaded workflows and its default
settings, the collector would visit every live object after every few steps. It would find nothing, and cost a fifth of
a step. The first threshold is therefore raised while batches keep coming, and restored a moment after the last one. The
collector belongs to the whole process: a program that has raised the threshold further, switched the collector off, or
changes the threshold meanwhile, keeps its own setting.
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
    """One worker's share in the raised threshold."""

    def __init__(self) -> None:
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def for_a_moment(self) -> None:
        """Raise the threshold: a large batch is being driven, and more may follow."""
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
        """Give up the raised threshold."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            _end()

"""Counts the callers that write something small in this turn of the event loop.

A lone caller commits at once, on the loop's thread. Several callers share one commit on the writer's thread: separate
commits would each stop the loop for as long as the disk takes.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["LoneWriter"]

_LONGEST_TURN = 0.001
"""Seconds after which a caller that writes again and again must let others run."""


class LoneWriter:
    """Tells a lone caller from many by the count in a turn, and expects the same count in the next turn."""

    def __init__(self) -> None:
        self._came = 0
        self._came_last = 0
        self._first: object = None
        self._waits = False
        """Whether a call waits for the end of this turn. Another one is then beside it, also one of the same caller."""
        self._until = 0.0

    def expects_nobody(self, caller: object) -> bool:
        """Whether the caller may write at once: no other came in the last turn, nor so far in this one."""
        if self._came_last != 1:
            return False
        if self._came == 0:
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._came, self._first, self._until = 1, caller, time.perf_counter() + _LONGEST_TURN
            return True
        return self._came == 1 and time.perf_counter() < self._until and self._first == caller

    async def alone(self, caller: object) -> bool:
        """Whether the caller is the only one. Lets other tasks run first, which may also call."""
        if self._came == 0:
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._came, self._first, self._until = 1, caller, time.perf_counter() + _LONGEST_TURN
        elif self._waits or self._first != caller:
            self._came += 1
        self._waits = True
        await asyncio.sleep(0)
        return self._came_last == 1

    def _end_turn(self) -> None:
        self._came_last = self._came
        self._came = 0
        self._waits = False
        self._first = None

"""Lets callers through in turns of the event loop, so many in one turn.

A turn of the loop runs everything that is ready. Five thousand tasks that each ask for something at once would run one
after the other in it, and hold up all other tasks of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Turns"]


class Turns:
    """Callers of one loop in their order. Ask `take` first, and await `wait` if it refuses.

    A caller who has to wait is through in a later turn. Those who have waited come first.
    """

    def __init__(self, at_once: int) -> None:
        """`at_once`: how many callers go through in one turn."""
        self._at_once = at_once
        self._through = 0
        """How many have gone through since the last renewal. They may have done so in several turns."""
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._renewing = False

    def take(self) -> bool:
        """Let a caller through, if there is room in this turn and nobody waits."""
        if self._through >= self._at_once or self._waiting:
            return False
        self._through += 1
        if self._through * 2 >= self._at_once:  # not with each caller: most are alone in their turn
            self._renew_later()
        return True

    async def wait(self, count: int = 1) -> None:
        """Return in a later turn, as `count` callers. The last one of a turn may be any number."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, count))
        self._renew_later()
        await turn

    def close(self, error: Exception) -> None:
        """Raise the error in all who wait."""
        waiting, self._waiting = self._waiting, deque()
        for turn, _ in waiting:
            if not turn.done():
                turn.set_exception(error)

    def _renew_later(self) -> None:
        if not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        """Begin a new count. The next turn belongs to those who have waited, if any have."""
        self._renewing, self._through = False, 0
        while self._waiting and self._through < self._at_once:
            turn, count = self._waiting.popleft()
            if not turn.done():  # else its caller has given up
                turn.set_result(None)
                self._through += count
        if self._through:
            self._through = self._at_once
            self._renew_later()

"""Turns of the host's loop amid long synchronous work, such as replays: bodies of others, heartbeats and requests."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["TURN", "Turns"]

TURN: Final = 0.01
"""Seconds for which such work may keep the loop from all else. A request waits for several of them, one after another:
its timers and wake-ups have a turn each.
"""


class Turns:
    """The time that is left until the loop has to have its next turn. All who share it use it up together."""

    __slots__ = ("_longest", "_until")

    def __init__(self, longest: float = TURN) -> None:
        self._longest = longest
        self._until: float | None = None

    def is_over(self) -> bool:
        """Whether the loop is to have a turn now: `await asyncio.sleep(0)`. The time begins with the first question."""
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._until = loop.time() + self._longest
            loop.call_soon(self._begin_anew)
            return False
        return loop.time() >= self._until

    def _begin_anew(self) -> None:
        self._until = None

"""When a worker claims next. All its parts may ask for a claim; `Claiming` makes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from romancy.engine.clock import DatabaseClock, Timer

__all__ = ["NextClaim"]

_PAUSE: Final = 0.5


class NextClaim:
    """The next claim: wanted now, or planned for later, and perhaps with everything this worker owns."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()
        self._owned = False
        self._planned: asyncio.Handle | None = None
        self._planned_at = 0.0
        """By the event loop's clock. Not read from the handle: uvloop's has no `when()` if the delay is nearly zero."""
        self._due: Timer | None = None
        """The claim planned for the time when the first resting instance falls due."""

    @property
    def is_wanted(self) -> bool:
        """Whether to claim now."""
        return self._wanted.is_set()

    def look(self) -> None:
        """Claim soon: there may be work."""
        self._wanted.set()

    def look_for_own(self) -> None:
        """Soon claim with a request for everything this worker owns: an earlier answer may have been lost."""
        self._owned = True
        self.look_in(_PAUSE)

    def look_in(self, seconds: float) -> None:
        """Claim in `seconds` at the latest. An earlier planned claim stays."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._planned is not None:
            if self._planned_at <= at:
                return
            self._planned.cancel()
        self._planned, self._planned_at = loop.call_later(seconds, self.look), at

    def look_at(self, due: int, clock: DatabaseClock) -> None:
        """Claim when something falls due."""
        self._due = clock.call_at(due, self.look)

    async def wanted(self) -> None:
        """Return when a claim is wanted."""
        await self._wanted.wait()
        self._wanted.clear()

    def forget_plans(self) -> None:
        """A claim follows now, and makes new plans."""
        for planned in (self._planned, self._due):
            if planned is not None:
                planned.cancel()
        self._planned = self._due = None

    def take_own(self) -> bool:
        """Whether this claim asks for everything this worker owns. Later ones do not, unless it is asked for again."""
        owned, self._owned = self._owned, False
        return owned

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
        self._turn: asyncio.TimerHandle | None = None
        """The claim planned for what this worker has heard of."""
        self._heard = set[str]()
        """The instances of which it has heard since its last claim, and which nobody else has taken."""

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

    def look_in_turn(self, heard: frozenset[str] | None, seconds: float) -> None:
        """Claim in `seconds`, unless others take all these instances (None: any) before. An earlier plan stays."""
        if heard is None:
            self.look_in(seconds)
            return
        self._heard |= heard
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(seconds, self.look)

    def taken(self, instances: set[str]) -> None:
        """Others have taken these instances."""
        self._heard -= instances
        if self._turn is not None and not self._heard:
            self._turn.cancel()
            self._turn = None

    def look_at(self, due: int, clock: DatabaseClock) -> None:
        """Claim when something falls due."""
        self._due = clock.call_at(due, self.look)

    async def wanted(self) -> None:
        """Return when a claim is wanted."""
        await self._wanted.wait()
        self._wanted.clear()

    def forget_plans(self) -> None:
        """A claim follows now, and makes new plans."""
        for planned in (self._planned, self._due, self._turn):
            if planned is not None:
                planned.cancel()
        self._planned = self._due = self._turn = None
        self._heard.clear()

    def take_own(self) -> bool:
        """Whether this claim asks for everything this worker owns. Later ones do not, unless it is asked for again."""
        owned, self._owned = self._owned, False
        return owned

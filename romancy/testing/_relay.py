"""The relay of a test app, in the time of the test: the clock stands still while an event is due or being sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.storage.outbox import OutboxState

if TYPE_CHECKING:
    from romancy.outbox.beside import Beside
    from romancy.storage.outbox import Outbox
    from romancy.testing._clock import StandingClock

__all__ = ["RelayedTime"]

_ALL: Final = 1_000_000
_MANY_TURNS: Final = 1000
_A_MOMENT: Final = 0.001


class RelayedTime:
    """Tells when the relay has nothing to do, and when its next event is due."""

    def __init__(self, clock: StandingClock, outbox: Outbox, beside: Beside) -> None:
        self._clock = clock
        self._outbox = outbox
        self._beside = beside
        self._noted: int | None = None

    async def settled(self) -> bool:
        """Wait until no event is due or being sent. Returns whether any was."""
        turns = 0
        while True:
            relaying, first = self._beside.at_work, await self._first()
            rests = relaying is None or not (relaying.holds or (first is not None and first <= self._clock.now()))
            if rests and not self._beside.begins:
                break
            if relaying is not None:
                relaying.look()
            turns += 1
            await asyncio.sleep(0 if turns < _MANY_TURNS else _A_MOMENT)
        if first is not None and first > self._clock.now() and first != self._noted:
            self._noted = first
            self._clock.call_at(first, self._due)  # so that the clock stops there
        return turns > 0

    def _due(self) -> None:
        self._noted = None

    async def _first(self) -> int | None:
        """When the first of the events that wait is due."""
        waiting = await self._outbox.entries((OutboxState.PENDING,), limit=_ALL)
        return min((entry.next_at for entry in waiting if entry.next_at is not None), default=None)

"""Append slots on databases where an open session blocks all other writers, as on SQLite.

There, an activity's session takes the append slot of its instance before it begins and holds the slot until it ends.
Without this rule, an append of the instance would wait for the session's transaction, and the end of the session would
wait for the slot. The rule costs nothing: whatever waits for the slot could not be written anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.engine.activities.port import Port
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.storage.sessions import StoreSession

__all__ = ["Slots"]


class Slots:
    """Lends the append slots of instances to sessions, which also hold the lease while they exclude other writers."""

    def __init__(self, driver: Driver, keeper: LeaseKeeper) -> None:
        self._driver = driver
        self._keeper = keeper

    def begun(self, session: StoreSession) -> None:
        """A session has begun."""
        self._keeper.hold(session)

    def ended(self) -> None:
        """A session has ended."""
        self._keeper.watch()

    async def take(self, live: Live, port: Port) -> None:
        """Return when the session has the slot, or when no append of the instance needs it any more."""
        turn = live.lend_slot(port, asyncio.get_running_loop().create_future)
        if turn is None:
            return
        try:
            await turn
        except asyncio.CancelledError:
            self.free(live, port)
            raise

    def free(self, live: Live, port: Port) -> None:
        """Give the slot back: the session has ended, or never began."""
        if live.take_slot_back(port):
            self._driver.go_on(live)

"""Append slots on databases where an open session blocks all other writers, as on SQLite.

There, an activity's session takes the append slot of its instance before it begins and holds the slot until it ends.
Without this rule, an append of the instance would wait for the session's transaction, and the end of the session would
wait for the slot. The rule costs nothing: whatever waits for the slot could not be written anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from romancy._logs import about, get_logger
from romancy.engine.open_sessions import session_begins, session_ends
from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.instance import Holder, Live
    from romancy.engine.open_sessions import OpenSession
    from romancy.storage.protocol import Store
    from romancy.storage.sessions import StoreSession

__all__ = ["Fresh", "Keeper", "Slots"]

logger = get_logger("romancy.engine")

_LONG: Final = 5.0
"""Seconds after which a session that is still open is logged."""


class Fresh(Protocol):
    """The lease of a worker."""

    def fresh(self) -> bool:
        """Whether it is known to hold."""
        ...


class Keeper(Protocol):
    """What attempts need of the keeper of their worker's lease."""

    @property
    def leases(self) -> Fresh:
        """The lease of the present incarnation."""
        ...

    def hold(self, session: StoreSession, /) -> None:
        """Keep the lease by this session, which excludes the keeper's own writes."""
        ...

    def watch(self) -> None:
        """Keep the lease as usual again."""
        ...


class Slots:
    """Lends the append slots of instances to sessions, which also hold the lease while they exclude other writers."""

    def __init__(self, go_on: Callable[[Live], None], keeper: Keeper, store: Store) -> None:
        """`go_on` is called when the slot of an instance is free again."""
        self._go_on = go_on
        self._keeper = keeper
        self._store = store
        self._open: dict[Holder, tuple[Live, OpenSession]] = {}
        """The open sessions that were not logged as long."""
        self._timer: asyncio.TimerHandle | None = None
        """The next look at them. One timer serves all."""

    def begun(self, session: StoreSession, live: Live, holder: Holder, what: str) -> None:
        """A session has begun, of `what`."""
        self._keeper.hold(session)
        self._open[holder] = live, session_begins(self._store.capabilities.place, holder, what)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LONG, self._look)

    def ended(self, holder: Holder) -> None:
        """A session has ended."""
        self._open.pop(holder, None)
        session_ends(self._store.capabilities.place, holder)
        self._keeper.watch()

    def _look(self) -> None:
        """Log each session that has been open for long, once."""
        self._timer = None
        now = here().seconds()
        for holder, (live, session) in list(self._open.items()):
            if now - session.since >= _LONG:
                del self._open[holder]
                logger.warning("%s", session.told, extra=about(live))
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(_LONG, self._look)

    async def take(self, live: Live, port: Holder) -> None:
        """Return when the session has the slot, or when no append of the instance needs it any more."""
        turn = live.lend_slot(port, asyncio.get_running_loop().create_future)
        if turn is None:
            return
        try:
            await turn
        except asyncio.CancelledError:
            self.free(live, port)
            raise

    def free(self, live: Live, port: Holder) -> None:
        """Give the slot back: the session has ended, or never began."""
        if live.take_slot_back(port):
            self._go_on(live)

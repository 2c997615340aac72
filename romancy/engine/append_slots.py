"""Append slots on databases where an open session blocks all other writers, as on SQLite.

There, an activity's session takes the append slot of its instance before it begins and holds the slot until it ends.
Without this rule, an append of the instance would wait for the session's transaction, and the end of the session would
wait for the slot. The rule costs nothing: whatever waits for the slot could not be written anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy.core import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.activities.port import Port
    from romancy.engine.instance import Live

__all__ = ["Slots", "hand_over", "is_held"]


def is_held(live: Live) -> bool:
    """Whether a session holds the slot and its attempt has not ended.

    Nothing may be appended until the attempt ends.
    """
    return live.holder is not None and not live.holder.ended


def hand_over(live: Live) -> None:
    """Give the slot, if it is free, to the session that has waited longest for it.

    A released instance appends nothing more. A session that still asks (to clean up) needs no slot and does not wait.
    """
    while live.wanting and (live.released or live.holder is None):
        port = next(iter(live.wanting))
        turn = live.wanting.pop(port)
        if not turn.done():
            live.holder = None if live.released else port
            turn.set_result(None)


class Slots:
    """Lends the append slots of instances to sessions.

    `freed` is called with an instance whose slot is free again, `held` with each session that has begun, and `let_go`
    when a session has ended.
    """

    def __init__(self, freed: Callable[[Live], None], held: Callable[[Any], None], let_go: Callable[[], None]) -> None:
        self._freed = freed
        self.held = held
        self.let_go = let_go

    async def take(self, live: Live, port: Port) -> None:
        """Return when the session has the slot, or when nobody needs the slot any more."""
        if live.released:
            return
        if not live.in_flight and live.holder is None:
            live.holder = port
            return
        if live.wanting is NO_DICT:
            live.wanting = {}
        turn = live.wanting[port] = asyncio.get_running_loop().create_future()
        try:
            await turn
        except asyncio.CancelledError:
            live.wanting.pop(port, None)
            self.free(live, port)
            raise

    def free(self, live: Live, port: Port) -> None:
        """Give the slot back: the session has ended, or never began."""
        if live.holder is port:
            live.holder = None
            self._freed(live)

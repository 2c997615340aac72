"""Append slots where an open session keeps everybody else from writing, as on SQLite.

There the session of an activity takes its instance's slot before it begins, and has it until it ends. Otherwise an
append of the instance would wait for the session's transaction, and the end of the session for the append's slot.
Nothing is lost by it: what waits here could not be written anyway.
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
    """Whether a session has the slot whose attempt has not ended: nothing is to be appended before that."""
    return live.holder is not None and not live.holder.ended


def hand_over(live: Live) -> None:
    """Give the slot, if it is free, to the session that has waited longest for it.

    An instance that was let go appends nothing more: who still asks (to clean up) needs no slot, and waits for nobody.
    """
    while live.wanting and (live.released or live.holder is None):
        port = next(iter(live.wanting))
        turn = live.wanting.pop(port)
        if not turn.done():
            live.holder = None if live.released else port
            turn.set_result(None)


class Slots:
    """How sessions take the slots of their instances.

    `freed` hears whose slot is free again, `held` of every session that has begun, and `let_go` that one has ended.
    """

    def __init__(self, freed: Callable[[Live], None], held: Callable[[Any], None], let_go: Callable[[], None]) -> None:
        self._freed = freed
        self.held = held
        self.let_go = let_go

    async def take(self, live: Live, port: Port) -> None:
        """Return when the slot is the session's, or of no use to anybody."""
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
        """The session has ended, or never began."""
        if live.holder is port:
            live.holder = None
            self._freed(live)

"""Durable timers of the instances in hand, as timers of the event loop. What rests has its alarm in the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.core import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.clock import DatabaseClock
    from romancy.engine.instance import Live

__all__ = ["Alarms"]

_LONGEST: Final = 3600.0


class Alarms:
    """Calls back when the database's clock has reached a moment, never before."""

    def __init__(self, clock: DatabaseClock) -> None:
        self._clock = clock
        self._handles: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def set(self, live: Live, name: str, due: int, ring: Callable[[], None]) -> None:
        """Call `ring` at `due`, once, unless it is cleared before."""
        if live.alarms is NO_DICT:
            live.alarms = {}
        live.alarms[name] = None
        wait = min(self._clock.seconds_until(due), _LONGEST)
        handle = asyncio.get_running_loop().call_later(wait, self._ring, live, name, due, ring)
        self._handles[live.instance_id, name] = handle

    def clear(self, live: Live, name: str) -> None:
        """It is no longer wanted."""
        live.alarms.pop(name, None)
        handle = self._handles.pop((live.instance_id, name), None)
        if handle is not None:
            handle.cancel()

    def clear_all(self, live: Live) -> None:
        """None of this instance's alarms is wanted any more."""
        for name in list(live.alarms):
            self.clear(live, name)

    def _ring(self, live: Live, name: str, due: int, ring: Callable[[], None]) -> None:
        if self._clock.seconds_until(due):
            self.set(live, name, due, ring)
            return
        self.clear(live, name)
        ring()

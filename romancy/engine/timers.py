"""Arms the durable timers of loaded instances as timers of the event loop.

For a resting instance, the database row holds the next due time instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import NO_DICT, CancelRequested, StopAt, TimerFired

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core import StartTimer
    from romancy.engine.clock import DatabaseClock, Timer
    from romancy.engine.instance import Live

__all__ = ["Timers", "rings_with"]


def rings_with(effect: StartTimer | StopAt) -> TimerFired | CancelRequested:
    """The input that a run is fed when the timer is due."""
    if type(effect) is StopAt:
        return CancelRequested(at=effect.due, limit=effect.limit)
    return TimerFired(at=effect.due, id=effect.timer_id)


class Timers:
    """Calls back when the database's clock has reached a moment, never earlier."""

    def __init__(self, clock: DatabaseClock) -> None:
        self._clock = clock
        self._handles: dict[Live, dict[str, Timer]] = {}
        """The timers of each instance that has any, by their names."""

    def arm(self, live: Live, name: str, due: int, ring: Callable[[], None]) -> None:
        """Call `ring` once, at `due`, unless the timer is cleared first."""
        handle = self._clock.call_at(due, self._ring, live, name, due, ring)
        self._handles.setdefault(live, {})[name] = handle

    def clear(self, live: Live, name: str) -> None:
        """Cancel one timer of the instance."""
        handles = self._handles.get(live)
        if handles is None or name not in handles:
            return
        handles.pop(name).cancel()
        if not handles:
            del self._handles[live]

    def clear_all(self, live: Live) -> None:
        """Cancel all timers of the instance."""
        for handle in self._handles.pop(live, NO_DICT).values():
            handle.cancel()

    def _ring(self, live: Live, name: str, due: int, ring: Callable[[], None]) -> None:
        if self._clock.seconds_until(due):
            self.arm(live, name, due, ring)
            return
        self.clear(live, name)
        ring()

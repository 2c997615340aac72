"""Faults of schedules."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_ENGINE: Final = "romancy/engine"
_WORKER: Final = f"{_ENGINE}/worker"
_SCHEDULES: Final = "romancy/schedules"

PLANTED: Final = (
    Planted(
        name="schedule: what comes behind a deletion starts runs",
        file=f"{_SCHEDULES}/keeper.py",
        text="            case _ if self._progress.deleted:\n                pass  # it came behind the deletion\n",
        replacement="",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="schedule: a declaration does not see the orders before it",
        file=f"{_SCHEDULES}/handle.py",
        text='any(one.name == ORDER.name or one.kind == "sealed" for one in instance.untaken or ())',
        replacement="False",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="schedule: a declaration is sent to an instance that is about to end",
        file=f"{_SCHEDULES}/schedules.py",
        text="if await takes_no_change(self, definition):",
        replacement="if False:",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="schedule: a worker also keeps those whose workflow it does not know",
        file=f"{_WORKER}/recovery.py",
        text="return None if declines is None or started is None else declines(bytes(started.input))",
        replacement="return None",
        shapes="scheduled,told-sealed",
        mend=True,
    ),
    Planted(
        name="schedule: a pause forgets what is late",
        file=f"{_SCHEDULES}/keeper.py",
        text="                await self._start_what_is_due()\n                self._now(paused=order.note",
        replacement="                self._now(paused=order.note",
        shapes="scheduled",
    ),
    Planted(
        name="schedule: it goes on where it was paused",
        file=f"{_SCHEDULES}/keeper.py",
        text="self._now(paused=None, since=self._ctx.now())",
        replacement="self._now(paused=None)",
        shapes="scheduled",
    ),
    Planted(
        name="schedule: a change takes effect when a worker hears of it",
        file=f"{_SCHEDULES}/keeper.py",
        text="since=max(decided, begins(order.definition.options.timing, declared_at))",
        replacement="since=self._ctx.now()",
        shapes="scheduled",
    ),
)

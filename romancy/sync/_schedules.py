"""Schedules from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.sync._schedule import SyncScheduleHandle
from romancy.sync._starts import SyncStarts

if TYPE_CHECKING:
    from typing import Unpack

    from romancy._schedule_options import ScheduleKeywords
    from romancy.schedules.handle import Schedule
    from romancy.workflow import Call


__all__ = ["SyncSchedules"]


class SyncSchedules(SyncStarts):
    """Declares schedules, and starts and tells them so."""

    def schedule(
        self, schedule_id: str, call: Call[Any], /, *, session: object = None, **options: Unpack[ScheduleKeywords]
    ) -> SyncScheduleHandle:
        """Start this workflow, with these arguments, at each time that `cron=`, `every=` or `at=` names.

        `call` is `workflow.bind(…)`, with the options of its runs. The schedule is durable when this returns, and any
        worker that knows the workflow keeps it. Calling again with the same id changes nothing if nothing differs;
        otherwise the new definition holds from now on. A run's id is that of the schedule, `@` and the time, and the
        run reads the time as `ctx.scheduled_at`.

        `overlap` says what becomes of a tick that comes while a run is open: "skip" drops it, "buffer_one" keeps one
        until that run has ended, "allow" starts it. `catchup` is for ticks that came while no worker ran: "one" starts
        the last one, "all" all of them, "none" only one that is less than a minute late, and a duration those that are
        not later. With `pause_on_failure=True`, a failed run pauses the schedule. `jitter` puts each start off by a
        random part of it. Nothing is due before `start` and after `end`.

        With `session=`, a connection or session in a transaction of your own, your commit declares it.
        """
        return SyncScheduleHandle(self._keeper, self._call("schedule", schedule_id, call, session=session, **options))

    def schedule_handle(self, schedule_id: str) -> SyncScheduleHandle:
        """A handle of a schedule, wherever it was declared."""
        return SyncScheduleHandle(self._keeper, self._call("schedule_handle", schedule_id))

    def schedules(self) -> list[Schedule]:
        """All schedules, by id. Raises CodecError if one was written with a codec that this app does not have."""
        result: list[Schedule] = self._call("schedules")
        return result

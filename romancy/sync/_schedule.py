"""Schedules, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._calling import Caller, Keeper

if TYPE_CHECKING:
    from datetime import datetime

    from romancy._schedule_options import Overlap
    from romancy.schedules.handle import Schedule, ScheduleHandle


__all__ = ["SyncScheduleHandle"]


class SyncScheduleHandle(Caller):
    """A schedule by its id. Every call is durable when it returns, and a worker carries it out."""

    def __init__(self, keeper: Keeper, target: ScheduleHandle) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> ScheduleHandle:
        return self._inner

    @property
    def id(self) -> str:
        """The id."""
        result: str = self._target.id
        return result

    @property
    def instance_id(self) -> str:
        """The id of the instance that is this schedule. Its children are the runs."""
        result: str = self._target.instance_id
        return result

    def get(self) -> Schedule | None:
        """The schedule as it is now. None: it does not exist, or was deleted."""
        result: Schedule | None = self._call("get")
        return result

    def next(self, count: int = 1) -> list[datetime]:
        """Its next ticks, at most this many, in UTC. A paused schedule has none.

        While a run is in the way of ticks, those that came meanwhile are among them: they are not decided yet.
        """
        result: list[datetime] = self._call("next", count)
        return result

    def pause(self, note: str = "") -> None:
        """Start nothing until `resume`. What is due meanwhile is not started later. Open runs go on."""
        self._call("pause", note)

    def resume(self) -> None:
        """Go on with what is due from now on."""
        self._call("resume")

    def trigger(self, *, overlap: Overlap | None = None) -> None:
        """Start one run now, also of a paused schedule. `overlap` replaces that of the schedule for this run."""
        self._call("trigger", overlap=overlap)

    def backfill(self, start: datetime, end: datetime) -> None:
        """Start a run for each tick from `start` to `end`, both included. Ticks that have their run get no other."""
        self._call("backfill", start, end)

    def delete(self) -> None:
        """End the schedule, and return when a worker has done so. Its runs go on, and their rows stay."""
        self._call("delete")

    def order_delete(self) -> None:
        """End the schedule, as soon as there is a worker."""
        self._call("order_delete")

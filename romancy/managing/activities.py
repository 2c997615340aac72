"""Activities that are paused by their names, on all workers of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from romancy._microseconds import moment_of
from romancy.managing.limiting import Limiting
from romancy.managing.noticing import check_pause, notices_of, pause_by_name, paused_by_name, take_down, tell_workers

__all__ = ["PausedActivities", "PausedActivity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedActivity:
    """An activity of which nothing new begins."""

    name: str
    reason: str
    since: datetime


class PausedActivities(Limiting):
    """Pauses activities by their names."""

    async def paused_activities(self) -> list[PausedActivity]:
        """The activities that are paused, the first one first."""
        return [
            PausedActivity(name=one.name, reason=one.reason, since=moment_of(one.since))
            for one in await notices_of(self._access.opened("paused_activities"), "activity")
        ]

    async def pause_activity(self, name: str, *, reason: str = "") -> None:
        """Let no attempt at the activity of this name begin any more, on any worker, until it is unpaused.

        Attempts at work go on, and all others wait. A compensation has a name of its own. A worker hears of it at once
        or, where the database tells no news, within seconds; with its next heartbeat at the latest.
        Raises UsageError if it is paused already.
        """
        check_pause("activity", name, reason)
        store = self._access.to_write("pause_activity")
        await pause_by_name(store, "activity", name, reason)

    async def unpause_activity(self, name: str) -> None:
        """Let attempts at the activity begin again. Raises UsageError if it is not paused."""
        check_pause("activity", name)
        store = self._access.to_write("unpause_activity")
        await take_down(store, await paused_by_name(store, "activity", name))
        await tell_workers(store)

"""Activities that are paused, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._limiting import SyncLimiting

if TYPE_CHECKING:
    from romancy.managing.activities import PausedActivity


__all__ = ["SyncPausedActivities"]


class SyncPausedActivities(SyncLimiting):
    """Pauses activities by their names."""

    def paused_activities(self) -> list[PausedActivity]:
        """The activities that are paused, the first one first."""
        result: list[PausedActivity] = self._call("paused_activities")
        return result

    def pause_activity(self, name: str, *, reason: str = "") -> None:
        """Let no attempt at the activity of this name begin any more, on any worker, until it is unpaused.

        Attempts at work go on, and all others wait. A compensation has a name of its own. A worker hears of it at once
        or, where the database tells no news, within seconds; with its next heartbeat at the latest.
        Raises UsageError if it is paused already.
        """
        self._call("pause_activity", name, reason=reason)

    def unpause_activity(self, name: str) -> None:
        """Let attempts at the activity begin again. Raises UsageError if it is not paused."""
        self._call("unpause_activity", name)

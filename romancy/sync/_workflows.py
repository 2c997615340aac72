"""Workflows that are paused, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._activities import SyncPausedActivities

if TYPE_CHECKING:
    from romancy.managing.workflows import PausedWorkflow


__all__ = ["SyncPausedWorkflows"]


class SyncPausedWorkflows(SyncPausedActivities):
    """Pauses workflows by their names."""

    def paused_workflows(self) -> list[PausedWorkflow]:
        """The workflows that are paused, the first one first."""
        result: list[PausedWorkflow] = self._call("paused_workflows")
        return result

    def pause_workflow(self, name: str, *, reason: str = "") -> None:
        """Let no start of the workflow of this name begin any more, on any worker, until it is unpaused.

        Starts are accepted and wait, also those of children and schedules. A worker that meets one pauses it. What has
        begun goes on. A worker hears of it at once or, where the database tells no news, within seconds; with its next
        heartbeat at the latest. Raises UsageError if it is paused already.
        """
        self._call("pause_workflow", name, reason=reason)

    def unpause_workflow(self, name: str) -> None:
        """Let starts of the workflow begin again. A worker lets those that wait go on, the oldest first.

        Raises UsageError if it is not paused.
        """
        self._call("unpause_workflow", name)

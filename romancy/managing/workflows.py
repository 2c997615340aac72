"""Workflows that are paused by their names: starts are accepted and wait, and what has begun goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from romancy._microseconds import moment_of
from romancy.managing.activities import PausedActivities
from romancy.managing.noticing import (
    check_pause,
    notices_of,
    pause_by_name,
    paused_by_name,
    post,
    take_down,
    tell_workers,
)

__all__ = ["PausedWorkflow", "PausedWorkflows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedWorkflow:
    """A workflow of which no start begins."""

    name: str
    reason: str
    since: datetime


class PausedWorkflows(PausedActivities):
    """Pauses workflows by their names."""

    async def paused_workflows(self) -> list[PausedWorkflow]:
        """The workflows that are paused, the first one first."""
        return [
            PausedWorkflow(name=one.name, reason=one.reason, since=moment_of(one.since))
            for one in await notices_of(self._access.opened("paused_workflows"), "workflow")
        ]

    async def pause_workflow(self, name: str, *, reason: str = "") -> None:
        """Let no start of the workflow of this name begin any more, on any worker, until it is unpaused.

        Starts are accepted and wait, also those of children and schedules. A worker that meets one pauses it. What has
        begun goes on. A worker hears of it at once or, where the database tells no news, within seconds; with its next
        heartbeat at the latest. Raises UsageError if it is paused already.
        """
        check_pause("workflow", name, reason)
        store = self._access.to_write("pause_workflow")
        await pause_by_name(store, "workflow", name, reason)
        await take_down(store, await notices_of(store, "over", name))

    async def unpause_workflow(self, name: str) -> None:
        """Let starts of the workflow begin again. A worker lets those that wait go on, the oldest first.

        Raises UsageError if it is not paused.
        """
        check_pause("workflow", name)
        store = self._access.to_write("unpause_workflow")
        found = await paused_by_name(store, "workflow", name)
        await post(store, "over", name)
        await take_down(store, found)
        await tell_workers(store)

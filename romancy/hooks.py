"""Lifecycle hooks: what a user's observer is told, and the blocks it may put around user code.

Hooks stand beside the engine. What they are told has been committed; it is told at most once, never on replay, and
not at all if the process dies in between. Whoever must miss nothing reads the log: `app.entries`, `handle.entries`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from romancy.status import Status

__all__ = [
    "ActivityEnded",
    "ActivityStarted",
    "Happening",
    "Hook",
    "WorkflowContinued",
    "WorkflowEnded",
    "WorkflowStarted",
    "WorkflowStuck",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    instance_id: str
    workflow_name: str
    run: int
    """1 for the first run of the instance, one more after every `recur`; 0 if it could not be read."""
    at: datetime
    worker_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStarted(_About):
    """A workflow's body began to run, for the first time."""

    parent_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEnded(_About):
    """A workflow has completed, failed or been cancelled, after its compensations."""

    status: Status
    duration: timedelta | None
    """Since the start; None if that has no time of its own (an app without a worker wrote it)."""
    error_type: str | None
    error_message: str | None
    reason: str
    """Why it was cancelled."""
    uncompensated: tuple[str, ...]
    unclaimed: tuple[str, ...] = ()
    """What failed runs had done, that still stands, and that the retry did not ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowContinued(_About):
    """A run ended by `recur`; the next one begins with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStuck(_About):
    """The instance was put aside: it waits for code that fits, or for a person."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityStarted(_About):
    """An attempt at an activity (or at a compensation) begins, in this process."""

    activity_id: str
    activity_name: str
    attempt: int
    compensates: str | None
    """For a compensation: the id of the activity that is undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityEnded(_About):
    """How the attempt ended, and it is in the log. One that is lost with its worker, or given back, has no end."""

    activity_id: str
    activity_name: str
    attempt: int
    compensates: str | None
    outcome: Literal["completed", "retrying", "failed", "cancelled"]
    duration: timedelta
    next_attempt_at: datetime | None
    """With `retrying`."""
    error_type: str | None
    error_message: str | None


Happening: TypeAlias = (
    WorkflowStarted | WorkflowEnded | WorkflowContinued | WorkflowStuck | ActivityStarted | ActivityEnded
)


class Hook:
    """Derive from it and override what you want; give instances to `Romancy(url, hooks=[…])`.

    A hook that raises is logged and disturbs nobody: no workflow, no activity, no other hook.
    """

    def happened(self, event: Happening, /) -> None:
        """Something happened. Called on the app's event loop, in the order of the commits: do not block it."""

    def around_activity(self, attempt: ActivityStarted, /) -> AbstractContextManager[object]:  # noqa: ARG002 - the same
        """A block around one attempt; what it sets in context variables is seen by the activity's code.

        It sees what the attempt raises and cannot swallow it. An activity in a process of its own is waited for in it.
        """
        return nullcontext()

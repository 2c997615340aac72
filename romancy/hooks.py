"""Lifecycle hooks: the events that a user's observer receives, and the blocks it may put around user code.

Hooks stand outside of the engine. An event reports something that has been committed. It is sent at most once, never on
replay, and not at all if the process dies before that. To miss nothing, read the log: `app.entries`, `handle.entries`.
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
    """A workflow completed, failed or was cancelled, after its compensations."""

    status: Status
    duration: timedelta | None
    """Time since the start. None if the start has no time of its own (an app without a worker wrote it)."""
    error_type: str | None
    error_message: str | None
    reason: str
    """Why it was cancelled."""
    uncompensated: tuple[str, ...]
    unclaimed: tuple[str, ...] = ()
    """Activities of failed runs that still stand and that the retry did not ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowContinued(_About):
    """A run ended by `recur`. The next one begins with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStuck(_About):
    """The instance is stuck: it waits for code that fits, or for a person."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityStarted(_About):
    """An attempt at an activity (or at a compensation) begins in this process."""

    activity_id: str
    activity_name: str
    attempt: int
    compensates: str | None
    """For a compensation: the id of the activity that it undoes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityEnded(_About):
    """An attempt ended, and the log says how. An attempt that is lost with its worker, or given back, has no end."""

    activity_id: str
    activity_name: str
    attempt: int
    compensates: str | None
    outcome: Literal["completed", "retrying", "failed", "cancelled"]
    duration: timedelta
    next_attempt_at: datetime | None
    """When the next attempt begins, with `retrying`."""
    error_type: str | None
    error_message: str | None


Happening: TypeAlias = (
    WorkflowStarted | WorkflowEnded | WorkflowContinued | WorkflowStuck | ActivityStarted | ActivityEnded
)


class Hook:
    """Derive from it and override what you want. Give instances to `Romancy(url, hooks=[…])`.

    An exception in a hook is logged and disturbs no workflow, no activity and no other hook.
    """

    def happened(self, event: Happening, /) -> None:
        """Something happened. Called on the app's event loop, in the order of the commits: do not block."""

    def around_activity(self, attempt: ActivityStarted, /) -> AbstractContextManager[object]:  # noqa: ARG002 - the same
        """A block around one attempt. The activity's code sees the context variables that it sets.

        The block sees the attempt's exception and cannot suppress it. For an activity in its own process, the block
        lasts until that process answers.
        """
        return nullcontext()

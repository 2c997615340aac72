"""Lifecycle hooks: the events that a user's observer receives, and the blocks and headers that it may add.

Hooks stand outside of the engine. An event reports something that has been committed. It is sent at most once, never on
replay, and not at all if the process dies before that. To miss nothing, read the log: `app.entries`, `handle.entries`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from romancy._headers import scheduled_at
from romancy.status import Status

__all__ = [
    "ActivityEnded",
    "ActivityStarted",
    "Body",
    "Happening",
    "Hook",
    "Sender",
    "Sending",
    "TicksSkipped",
    "WaitBegan",
    "WaitEnded",
    "WaitKind",
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
    began_at: datetime | None = None
    """When the body of this run began, by the log. None if it has not, or could not be read."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The headers that the starter sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStarted(_About):
    """A workflow's body began to run, for the first time."""

    parent_id: str | None

    @property
    def scheduled_at(self) -> datetime | None:
        """For which time a schedule has started it. None: none has."""
        return scheduled_at(self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body(_About):
    """The body of a run, around which a hook puts a block. It is no event: a replay runs the body again."""

    parent_id: str | None
    _read: Callable[[], Mapping[str, object]] = field(repr=False, compare=False)
    _replays: Callable[[], bool] = field(repr=False, compare=False)

    @property
    def arguments(self) -> Mapping[str, object]:
        """What the workflow was started with, by the names of its parameters. Read anew each time."""
        return self._read()

    @property
    def is_replaying(self) -> bool:
        """Whether the body repeats now what it has done before. Report only while it is False."""
        return self._replays()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowEnded(_About):
    """A workflow completed, failed or was cancelled, after its compensations."""

    status: Status
    duration: timedelta | None
    """Time since the start. None if the time of the start was not recorded (an app without a worker wrote it)."""
    error_type: str | None
    error_message: str | None
    reason: str
    """Why it was cancelled."""
    uncompensated: tuple[str, ...]
    unclaimed: tuple[str, ...] = ()
    """Activities of failed runs that still stand and that the retry did not ask for."""
    unknown: tuple[str, ...] = ()
    """Activities of which nobody knows whether they took effect, and which were not undone."""
    expected: bool = False
    """Whether it failed with what belongs to the business, an `Expected`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowContinued(_About):
    """A run ended by `recur`. The next one begins with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStuck(_About):
    """The instance is stuck: it waits for code that fits, or for a person."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicksSkipped(_About):
    """A schedule has dropped ticks: a run was in their way, or no worker ran in time. The instance is the schedule."""

    schedule_id: str
    starts: str
    """The workflow that they would have started."""
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityStarted(_About):
    """An attempt at an activity (or at a compensation) begins in this process."""

    activity_id: str
    activity_name: str
    attempt: int
    compensates: str | None
    """For a compensation: the id of the activity that it undoes."""
    waited: timedelta = timedelta()
    """How long the due attempt waited for a slot in this worker. The pause before a retry does not count."""


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
    unknown: bool = False
    """Whether nobody knows what the attempt did: it was told to stop and did not answer. It may still run."""
    expected: bool = False
    """Whether it failed with what belongs to the business, an `Expected`, or a class that its policy expects."""


WaitKind: TypeAlias = Literal["timer", "limit", "event", "channel", "request", "question", "child", "place"]
"""What a workflow waits for: the end of a sleep or of a time limit, an event or a signal, a message of a channel, a
request, the answer to a question, the end of a child, or a place under a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitBegan(_About):
    """The workflow begins a wait. It may do other work meanwhile."""

    wait_id: str
    kind: WaitKind
    name: str
    """The type of the event, the channel, the name of the question, the workflow of the child, or the limit of a place.
    Empty for a timer and a limit of time.
    """
    due_at: datetime | None
    """When the wait ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEnded(_About):
    """A wait ended. A wait that ends with its run has no end event."""

    wait_id: str
    kind: WaitKind
    name: str
    outcome: Literal["fired", "received", "granted", "timed_out", "completed", "failed", "cancelled"]
    duration: timedelta | None
    """Time since the wait began. None if this worker did not hold the instance all the time."""
    message_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The headers of the event or the message that it received."""


Happening: TypeAlias = (
    WorkflowStarted
    | WorkflowEnded
    | WorkflowContinued
    | WorkflowStuck
    | TicksSkipped
    | ActivityStarted
    | ActivityEnded
    | WaitBegan
    | WaitEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The run of a workflow that sends something, itself or by one of its activities."""

    instance_id: str
    workflow_name: str
    run: int
    at: datetime
    """The time of the event to which the run reacts by sending."""
    began_at: datetime | None
    headers: Mapping[str, str] = field(repr=False)
    """The headers that the starter of this workflow sent."""
    activity_id: str | None = None
    """The activity that sends it. None: the workflow's body."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Sending:
    """A message that is about to be written: a start, a signal, an event or a channel message."""

    kind: Literal["start", "signal", "send", "message", "publish"]
    """`start` also stands for a child, `message` for one of a channel, `publish` for the outbox."""
    name: str
    """The workflow, the type of the event, or the channel."""
    to: str | None
    """The receiving instance, if it has one."""
    headers: Mapping[str, str] = field(repr=False)
    """Its headers: those of the caller, and then those that hooks add."""
    sender: Sender | None = None
    """None: a program sends it, not a workflow."""


class Hook:
    """Derive from it and override what you want. Give instances to `Romancy(url, hooks=[…])`.

    An exception in a hook is logged and does not affect workflows, activities and other hooks.
    """

    def happened(self, event: Happening, /) -> None:
        """Called for each event, on the app's event loop, in the order of the commits: do not block."""

    def idle(self) -> bool:
        """Whether the hook does not need events at present. While all hooks of an app are idle, none gets any.

        Asked before each attempt: it must cost next to nothing. Blocks are still put around the attempts of runs whose
        starters sent headers, so that a trace can be carried on.
        """
        return False

    def around_activity(self, attempt: ActivityStarted, /) -> AbstractContextManager[object]:  # noqa: ARG002 - the same
        """A block around one attempt. The activity's code sees the context variables that it sets.

        The block sees the attempt's exception and cannot suppress it. For an activity in its own process, the block
        lasts until that process answers.
        """
        return nullcontext()

    def around_body(self, body: Body, /) -> AbstractContextManager[object]:  # noqa: ARG002 - the same
        """A block around the body of a run. The body and its activities see the context variables that it sets.

        It is entered each time that this worker runs the body: at the begin of the run, and whenever the run is brought
        back from its log. It sees the exception or the cancellation that the body ends with, and cannot suppress it. A
        run that is put aside, or goes on as a new one, leaves it without an exception. It must ask nothing of the
        workflow.
        """
        return nullcontext()

    def sending(self, message: Sending, /) -> Mapping[str, str] | None:  # noqa: ARG002 - the same
        """Called before a message is written. The returned headers are added to it and replace those of the same names.

        Called where it is sent: in the caller's task, in the activity's, or, for what a workflow's body sends, on the
        app's event loop. Never on a replay. A write that fails is prepared again, as another `Sending`. If this raises,
        or returns invalid headers, that is logged, and the message is sent without them.
        """
        return None

    def sent(self, message: Sending, /) -> None:
        """Called when the database has the message, given as in `sending`. At most once, never for duplicates.

        With `session=` it is in the caller's transaction, which may still be rolled back.
        """

    def commit_took(self, seconds: float, items: int, /) -> None:
        """The database has accepted a batch of the worker's writes. Called for each batch: do next to nothing.

        It does not cover what activities write in their own transactions.
        """

    def lease_lost(self, worker_id: str, /) -> None:
        """The worker could not renew its lease in time, or others have declared it dead. It drops its instances."""

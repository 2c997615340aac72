"""Effects: what a run asks the engine to do, as values. The engine carries them out once their commit is durable.

What a run asks about messages, the engine gets as the event that the log holds: it says all that is needed.
"""

from __future__ import annotations

from contextvars import Context
from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from romancy._start_options import StartOptions
from romancy.core.words.complaints import Complaint
from romancy.core.words.definitions import ActivityDefinition, CompensationDefinition
from romancy.core.words.events import NULL, Input, LogEvent, WorkflowStarted
from romancy.core.words.message_events import (
    MembersAsked,
    MessageAwaited,
    MessageSent,
    RequestAnswered,
    Subscribed,
    Unsubscribed,
    WaitCancelled,
)
from romancy.core.words.place_events import PlaceAsked, PlaceFreed, PlaceNotWanted
from romancy.serialization import ErrorInfo
from romancy.status import Status

__all__ = [
    "Activation",
    "CancelActivity",
    "CancelChild",
    "CancelTimer",
    "Effect",
    "Publish",
    "Report",
    "RunEnd",
    "StartActivity",
    "StartChild",
    "StartCompensation",
    "StartTimer",
    "StopAt",
]


class StartActivity(Struct, frozen=True, gc=False):
    """Run attempt number `attempt`, not before `due` (µs) if that is given. `failed` attempts before it have failed.

    The definition has the options of the call. `details` come from the last heartbeat of the attempts before this one.
    """

    activity_id: str
    definition: ActivityDefinition
    args: Raw
    attempt: int = 1
    due: int | None = None
    details: Raw = NULL
    key: str = ""
    """Its idempotency key, if a former run gave it one."""
    lost: bool = False
    """Whether an attempt may have begun at a former owner, which has not recorded how it ended."""
    context: Context | None = None
    """The context variables that the body had set when it made the call. None: it had set none."""
    failed: int = 0

    @property
    def name(self) -> str:
        return self.definition.name


class CancelActivity(Struct, frozen=True, gc=False):
    """Stop the activity and record how it ended. A result that comes anyway is recorded as a result.

    `idle`: it waited for its next attempt when it was asked, so no attempt was at work. Otherwise one may have begun:
    if it does not run here now, nobody knows how it ended.
    """

    activity_id: str
    idle: bool = False


class StartTimer(Struct, frozen=True, gc=False):
    """Feed `TimerFired(timer_id)` once `due` (µs) has come."""

    timer_id: str
    due: int


class StopAt(Struct, frozen=True, gc=False):
    """Feed `CancelRequested` with the instance's `limit` once `due` (µs) has come, if the run goes on until then."""

    due: int
    limit: int

    @property
    def timer_id(self) -> str:
        """A name that no timer of a workflow has."""
        return ""


class CancelTimer(Struct, frozen=True, gc=False):
    """Drop the timer."""

    timer_id: str


class StartChild(Struct, frozen=True, gc=False):
    """Start `workflow` under `instance_id` (idempotent) and feed its end as `Child…(child_id)`.

    `by` is the run that starts it. `again`: a former run has started the child. It is retried if it failed, on behalf
    of `by`, unless it runs already, on behalf of `wanted_by`.
    """

    child_id: str
    workflow: str
    instance_id: str
    input: Raw
    given: StartOptions
    again: bool = False
    by: str = ""
    wanted_by: str = ""
    unsure: Literal["", "done", "undone"] = ""


class CancelChild(Struct, frozen=True, gc=False):
    """Ask the child to stop, in the run that works on behalf of `wanted_by`. Its end is fed as usual."""

    child_id: str
    instance_id: str
    wanted_by: str = ""


class Publish(Struct, frozen=True, gc=False):
    """Send a message, once. `message_id` is stable across replays and workers."""

    message_id: str
    name: str
    data: Raw
    key: str | None = None


class Report(Struct, frozen=True, gc=False):
    """Show this to handles as the workflow's progress."""

    state: Raw


class StartCompensation(Struct, frozen=True, gc=False):
    """Run attempt number `attempt` of a compensation, of which `failed` have failed. `result` is the activity's.

    `context` is that of the activity's call, if the body made that call in this process.
    """

    compensation_id: str
    activity_id: str
    definition: CompensationDefinition
    activity: ActivityDefinition
    args: Raw
    result: Raw
    attempt: int = 1
    due: int | None = None
    key: str = ""
    context: Context | None = None
    failed: int = 0

    @property
    def name(self) -> str:
        return self.definition.name


Effect: TypeAlias = (
    StartActivity
    | CancelActivity
    | StartTimer
    | CancelTimer
    | StopAt
    | MessageAwaited
    | WaitCancelled
    | Subscribed
    | Unsubscribed
    | MembersAsked
    | PlaceAsked
    | PlaceNotWanted
    | PlaceFreed
    | MessageSent
    | RequestAnswered
    | StartChild
    | CancelChild
    | Publish
    | Report
    | StartCompensation
)


class RunEnd(Struct, frozen=True, gc=False):
    """How a run ended."""

    status: Status
    result: Raw | None = None
    error: ErrorInfo | None = None
    reason: str = ""
    uncompensated: tuple[str, ...] = ()
    unclaimed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Activation(Struct, frozen=True, gc=False):
    """The result of feeding inputs: the commit, what to do once it is durable, and the state of the run.

    `dropped` holds the inputs that no wait accepted. They are not in `events`, and their source must keep them.
    `parked` is the reason why the run cannot continue; the inputs are recorded, and the run must be dropped.
    `successor` is the first input of the next run after `ctx.recur`. It goes into the same append.
    """

    events: list[LogEvent]
    effects: list[Effect]
    status: Status
    wake_at: int | None = None
    outcome: RunEnd | None = None
    parked: str | None = None
    successor: WorkflowStarted | None = None
    dropped: tuple[Input, ...] = ()
    warnings: tuple[Complaint, ...] = ()

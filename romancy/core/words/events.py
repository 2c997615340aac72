"""The events of the log: what a run can be told (inputs) and what it can decide (commands).

Names and fields here are the public record. Changes only add: a field with a default, or an event. Nothing is ever
renamed, removed or given another meaning. This module defines the form of the events, not how a run reacts to them.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Raw

from romancy.core.words.messages import NULL, Subscription
from romancy.serialization import ErrorInfo

__all__ = [
    "NULL", "TERMINAL", "ActivityAttemptFailed", "ActivityCancelRequested", "ActivityCancelled", "ActivityCompleted",
    "ActivityFailed", "ActivityScheduled", "CancelRequested", "ChildCancelRequested", "ChildCancelled",
    "ChildCompleted", "ChildFailed", "ChildStarted", "Command", "CompensationAttemptFailed", "CompensationCompleted",
    "CompensationFailed", "CompensationScheduled", "DefaultTaken", "Departure", "Drawn", "DrawsCounted", "Input",
    "InputDeferred", "LogEvent", "MessagePublished", "OwnerChanged", "Parent", "PatchMarked", "ProgressReported",
    "StreamWritten", "TimerCancelled", "TimerFired", "TimerStarted", "WorkflowAbandoned", "WorkflowCancelled",
    "WorkflowCaughtUp", "WorkflowCompleted", "WorkflowContinued", "WorkflowFailed", "WorkflowForked",
    "WorkflowParked", "WorkflowResumed", "WorkflowRetried", "WorkflowRewound", "WorkflowStarted",
]  # fmt: skip


class LogEvent(msgspec.Struct, frozen=True, tag_field="type", tag=True, omit_defaults=True, gc=False):
    """One entry of the log."""


class Input(LogEvent, frozen=True, tag=True, omit_defaults=True, gc=False):
    """An event from outside the run, with a time (µs since the epoch, UTC) that never runs backwards."""

    at: int


class Command(LogEvent, frozen=True, tag=True, omit_defaults=True, gc=False):
    """An event that the run decided. Its time is that of the input it answers."""


class Parent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a child reports to: the parent, the id of its `ChildStarted`, and the parent's life (0: unknown).

    `run` is the nonce of the parent's run that started the child (empty: unknown).
    """

    instance_id: str
    child_id: str
    life: int = 0
    run: str = ""


# ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────────────


class WorkflowStarted(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The run begins. Keys and seeds derive from `nonce`, new in each run and life. `rules`: see `calls.RULES`.

    `subscriptions` are those that the run before it had.
    """

    workflow: str
    input: Raw
    nonce: str
    run: int = 1
    code: str = ""
    parent: Parent | None = None
    headers: dict[str, str] = {}
    runtime: str = ""
    budget: int = 10_000
    by: str = ""
    """The run of the parent that had this child retried. If a person had it retried, it is the nonce of that retry.

    It stays the same when the child continues as new.
    """
    limit: int = 0
    """For how many microseconds the instance may go on, from when its body begins; 0: as long as it takes."""
    deadline: int = 0
    """When that time ends, if a former run has begun it (µs since the epoch)."""
    rules: int = 0
    subscriptions: tuple[Subscription, ...] = ()
    priority: int = 0
    fair_key: str = ""
    weight: int = 1
    identity: str = ""
    """The instance whose log this was, from which a fork has copied it. Its ids and values are derived as there.

    Empty: the instance itself.
    """
    due: int = 0
    """When the body of a delayed start is to begin, in µs since the epoch. 0: at once."""


class Drawn(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Random values that a run drew before it was forked: from which instance and seed, and how many of each kind."""

    identity: str
    seed: str
    until: dict[str, int] = {}


class WorkflowRetried(WorkflowStarted, Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """A retry begins: a run that remembers what stands of the failed runs before it. Their commits precede this one.

    `seed` is the nonce of the first of them, from which all of them draw random values. `unsure` says what became of
    activities that did not answer, or whose compensation failed for good. The children in `gone` no longer exist and
    are started again. `subscriptions` are those with which the failed run began. The retry asks for the channels among
    them again.
    `running` holds the children that had not ended, each with the run of the parent on whose behalf it works.
    """

    seed: str = ""
    unsure: Literal["", "done", "undone"] = ""
    gone: tuple[str, ...] = ()
    running: dict[str, str] = {}
    drawn: tuple[Drawn, ...] = ()
    """The values that it draws again as the instance drew them from which it was forked."""


class Departure(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where the code left the log, without payloads: the commands of the log beside those of the code."""

    position: int
    """The position among the run's events, as in the report to people."""
    after: str
    recorded: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    """Further differences, such as the versions of the code and of Python."""


class OwnerChanged(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """Another worker writes from here on. Runs no workflow code.

    When an instance gets stuck by a divergence, its last owner records where its code left the log. `heard` is the time
    of the former owner's last heartbeat; of a trial, its beginning, if its worker then sends frequent heartbeats.

    `alone`: its owner begins to try it or, without an owner, it has survived that. `tried` is the instance that the
    former owner tried when it was lost; where a trial begins, this one. (A trial without `tried` was begun by a version
    that let nothing else run beside it.)

    `interrupted`: the owner gives the instance back, and has dropped attempts that had begun. Of the at-most-once
    activities in `not_begun`, it has begun none.

    `pause`: from here on the instance rests although it has something to do, for a `reason`, or no longer does. What it
    waits for is due as much later as a pause lasts that has `freeze`. `due`, in both of its entries, of an instance
    that nobody had begun by then: when its body is to begin, in µs since the epoch.
    """

    owner: str = ""
    code: str = ""
    runtime: str = ""
    alone: bool = False
    heard: int = 0
    misfit: Departure | None = None
    interrupted: bool = False
    tried: str = ""
    not_begun: tuple[str, ...] = ()
    pause: Literal["", "begins", "ends"] = ""
    reason: str = ""
    freeze: bool = False
    due: int = 0


class WorkflowForked(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """What stands before this was copied from the log of `source`, up to the commit `seq`. Runs no workflow code.

    From here on, keys and seeds derive from this instance and `nonce`. `step` is the request before which the copy
    ends: its commit is copied only up to the input that led to it. `children`: what becomes of those that were open.
    `identity` is set by a fork of this fork, as in `WorkflowStarted`.

    `back`: this instance itself was rewound, and `source` is its own id. What a retry remembered and had not asked for
    by then is forgotten.
    """

    source: str
    life: int
    seq: int
    nonce: str
    step: str = ""
    children: Literal["keep", "again"] = "keep"
    identity: str = ""
    back: bool = False


class WorkflowRewound(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The run so far ends here, ended or not: its instance is rewound. The rest of the commit is the new run.

    That begins with a copy of this one up to the point, which `WorkflowForked` closes. `undo`: what becomes of what was
    done behind the point.
    """

    seq: int
    step: str = ""
    undo: Literal["keep", "refuse", "compensate"] = "refuse"


class WorkflowResumed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """A parked run tries again, and acts on the inputs that it could not act on before."""

    code: str = ""
    runtime: str = ""


class ActivityAttemptFailed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """Attempt number `attempt` failed and another is due at `next_at`. `details`: of the last heartbeat until then.

    Attempts whose ends are in no log, because their workers died, have numbers too.

    `unknown`: the attempt had reached its limit and did not answer, so nobody knows what it did. It may still run.
    """

    id: str
    attempt: int
    error: ErrorInfo
    next_at: int
    details: Raw = NULL
    queued: int = 0
    """For how many microseconds this attempt waited for a free slot of its worker."""
    unknown: bool = False
    failures: int = 0
    """How many attempts have failed by now, if the log keeps the last of them only. 0: one more than before."""


class ActivityCompleted(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The activity returned."""

    id: str
    result: Raw = NULL
    attempt: int = 1
    queued: int = 0


class ActivityFailed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The last attempt that the policy allows failed, or the error was terminal. `own`: types it is also caught as.

    `attempts` counts those that failed, the last one included.

    `unknown`: as in `ActivityAttemptFailed`, of the last attempt. Of an at-most-once activity also: an attempt may have
    begun, and how it ended is in no log.
    """

    id: str
    error: ErrorInfo
    attempts: int = 1
    own: tuple[str, ...] = ()
    queued: int = 0
    unknown: bool = False


class ActivityCancelled(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The activity stopped because it was asked to.

    `unknown`: nobody knows what it did. It did not answer before the deadline, or was lost with its process.
    `streamed`: the attempt that answered, if it wrote to streams: all of it was in the database before. It is final.
    """

    id: str
    unknown: bool = False
    streamed: int = 0


class TimerFired(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The timer is due. `again`: it was due in a former run, and the run does not wait for it again."""

    id: str
    again: bool = False


class ChildCompleted(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The child workflow returned."""

    id: str
    result: Raw = NULL


class ChildFailed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The child workflow failed, after its own compensations."""

    id: str
    error: ErrorInfo


class ChildCancelled(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The child workflow was cancelled, after its own compensations."""

    id: str
    reason: str = ""


class CompensationAttemptFailed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """An attempt at the compensation failed and another is due at `next_at`. `failures`: as of activities."""

    id: str
    attempt: int
    error: ErrorInfo
    next_at: int
    queued: int = 0
    failures: int = 0


class CompensationCompleted(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The activity's effect has been undone."""

    id: str
    attempt: int = 1
    queued: int = 0


class CompensationFailed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The compensation failed for good. The others continue, and the terminal event names it."""

    id: str
    error: ErrorInfo
    attempts: int = 1
    queued: int = 0


class CancelRequested(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """A caller asked the workflow to stop, or the time is over that its instance had: `limit`, in microseconds.

    `place`: a newer start gets this place, so the request is only for the run that has it.
    """

    reason: str = ""
    limit: int = 0
    place: str = ""


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────


class ActivityScheduled(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow called an activity. `key` is its idempotency key if a former run gave it one.

    `about` is what a step is shown with. No replay compares it.
    """

    id: str
    name: str
    args: Raw
    key: str = ""
    about: Raw = NULL


class ActivityCancelRequested(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow no longer awaits the activity. The outcome is still recorded.

    `never_started`: the activity was called and given up in one activation, so it has no outcome.
    """

    id: str
    never_started: bool = False


class DefaultTaken(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The activity `id` failed for good, and its call returns the default `result` instead of raising."""

    id: str
    result: Raw = NULL


class TimerStarted(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """A delay inside the workflow: `when` in the run's own seconds, exactly; `due` in µs since the epoch.

    A sleep has a `delay`, a limit has none: a retry remembers a sleep and restarts a limit.
    """

    id: str
    when: float
    due: int
    delay: float | None = None


class TimerCancelled(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The timer is no longer wanted."""

    id: str


class MessagePublished(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow body published a message, sent once this is durable. `again`: a former run had sent it."""

    id: str
    name: str
    data: Raw
    key: str | None = None
    again: bool = False


class StreamWritten(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow body wrote to a stream. `again`: a former run had written it."""

    id: str
    name: str
    data: Raw
    again: bool = False


class ProgressReported(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow reported its progress. Handles read the last report."""

    state: Raw


class ChildStarted(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow started a child workflow. `again`: a former run did, and the child is retried if it failed.

    `detached`: the parent is not its keeper.
    """

    id: str
    workflow: str
    instance_id: str
    input: Raw
    delay: int = 0
    again: bool = False
    headers: dict[str, str] = {}
    limit: int = 0
    due: int | None = None
    priority: int = 0
    fair_key: str = ""
    weight: int = 1
    detached: bool = False


class ChildCancelRequested(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The child is asked to stop. Its outcome is still recorded."""

    id: str


class PatchMarked(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """This history took the new branch of `ctx.patched(name)`."""

    name: str


class CompensationScheduled(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The effect of the completed activity `activity_id` is to be undone. Without `activity_name`: the undo of that id.

    `result` is set only if the compensation asks for it. `key` is its idempotency key if a former run tried it.
    `early`: the body goes on, and only this call is undone. Otherwise the run is ending, and undoes what was done last.
    """

    id: str
    activity_id: str
    activity_name: str
    name: str
    args: Raw
    result: Raw = NULL
    key: str = ""
    early: bool = False


class WorkflowAbandoned(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """From here on the instance ends from its log alone: no workflow code runs any more."""

    reason: str = ""


class WorkflowParked(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The run could not act on the preceding input. It tries again when the next input comes."""

    reason: str


class InputDeferred(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The preceding input is recorded, and the run acts on it when the next input comes.

    The log has refused what the run had decided from the input. What happened stands all the same.
    """


class WorkflowCaughtUp(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The run acts on deferred inputs at the time of the input that this answers, as if no time had passed in between.

    A body that begins here counts its loop's time from here. Without this command, the run acts on each input at the
    input's own time.
    """


class DrawsCounted(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """How many random values of each kind the run had drawn when it was forked, for its retries."""

    until: dict[str, int]


class WorkflowContinued(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The run ends here and the next one, under the same instance id, begins with `input`."""

    input: Raw
    run: int


class WorkflowCompleted(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow returned. `unclaimed` names what former runs had done and this run did not ask for."""

    result: Raw = NULL
    unclaimed: tuple[str, ...] = ()


class WorkflowFailed(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow raised. `uncompensated` names the compensations that failed for good.

    `unknown` names the activities of which nobody knows whether they took effect, and which were not undone.
    """

    error: ErrorInfo
    uncompensated: tuple[str, ...] = ()
    unclaimed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class WorkflowCancelled(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow was cancelled. `uncompensated` and `unknown` are as in `WorkflowFailed`."""

    reason: str = ""
    uncompensated: tuple[str, ...] = ()
    unclaimed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


TERMINAL: Final = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowContinued)

"""The deterministic core: events in, events and effects out. No clock, randomness, I/O or thread.

For an engine:

    run = Run(workflow, instance_id="order-42", code=workflow.code, runtime="CPython 3.13")
    run.replay(commits)                       recorded commits of the current run, page by page
    run.outstanding()                         after a replay: what the run waits for, as effects
    activation = run.activate([input, …])     the one synchronous entry; inputs have their time `at`
        .events                               the commit body: encode_commit(activation.events)
        .effects                              to carry out once the commit is durable
        .status .wake_at .outcome             for the projection
        .parked                               why the run cannot continue; close it. `WorkflowResumed` tries again
        .successor                            after `recur`: feed it to a new Run, and join its events to this commit
        .dropped                              inputs that nobody waits for; they are not in the commit
    run.close()                               teardown; a run is never used after a refused append
    with driving(): …                         several activations together, at less cost for each

Inputs an engine feeds: WorkflowStarted, WorkflowResumed, OwnerChanged (inert),
Activity{AttemptFailed,Completed,Failed,Cancelled}, TimerFired, MessageReceived, WaitTimedOut,
Subscription{Granted,Refused}, MembersListed, RequestRefused,
Child{Completed,Failed,Cancelled}, Compensation{AttemptFailed,Completed,Failed}, CancelRequested.

`decode_commit` reads a commit back. `replay` replays a history as one pure function, for checks and tests.
`idempotency_key` gives the key of an activity. `State` folds a log without any workflow code.
"""

from __future__ import annotations

from romancy.core.fold.answers import WaitAnswer
from romancy.core.fold.commits import (
    decode_commit,
    encode_commit,
)
from romancy.core.fold.kinds import (
    KINDS,
    Begins,
    Ends,
    Fails,
    Part,
    place_of_point,
)
from romancy.core.fold.message_rules import (
    kept_id,
)
from romancy.core.fold.recall import (
    Recall,
)
from romancy.core.fold.state import (
    State,
    outcome_of,
)
from romancy.core.loop.by_hand import FUTURE, BegunByHand, enter_task, leave_task
from romancy.core.loop.calls import (
    RULES,
    begun,
    kept,
)
from romancy.core.loop.conditions import words_of
from romancy.core.loop.deterministic_loop import (
    RunDropped,
    not_in_a_workflow,
)
from romancy.core.loop.thread_state import driving, is_in_a_workflow, running_loop, threads
from romancy.core.run.commands import (
    Commands,
    current_commands,
)
from romancy.core.run.differences import (
    without_values,
)
from romancy.core.run.divergence import (
    DivergedError,
)
from romancy.core.run.ending import (
    ContinueAsNew,
)
from romancy.core.run.failures import (
    as_caught,
    failure_of,
    raised_again,
)
from romancy.core.run.message_commands import (
    mode_conflict,
)
from romancy.core.run.own_errors import (
    own_classes,
)
from romancy.core.run.replay import current_run, replay
from romancy.core.run.run import (
    Run,
    conditions_of_body,
    place_of_body,
)
from romancy.core.run.segments import (
    begin_of_retry,
)
from romancy.core.run.undoing import undone_early
from romancy.core.run.workflow_definition import WorkflowDefinition
from romancy.core.words.complaints import Complaint
from romancy.core.words.definitions import (
    ActivityDefinition,
)
from romancy.core.words.effects import (
    Activation,
    CancelActivity,
    CancelChild,
    CancelTimer,
    Effect,
    Publish,
    Report,
    RunEnd,
    StartActivity,
    StartChild,
    StartCompensation,
    StartTimer,
    StopAt,
)
from romancy.core.words.events import (
    TERMINAL,
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelRequested,
    ChildCancelled,
    ChildCancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    CompensationAttemptFailed,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    DefaultTaken,
    Departure,
    DrawsCounted,
    Input,
    InputDeferred,
    LogEvent,
    MessagePublished,
    OwnerChanged,
    Parent,
    ProgressReported,
    StreamWritten,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    WorkflowAbandoned,
    WorkflowCancelled,
    WorkflowCaughtUp,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowForked,
    WorkflowParked,
    WorkflowResumed,
    WorkflowRetried,
    WorkflowRewound,
    WorkflowStarted,
)
from romancy.core.words.family import run_of_child, wanted_by
from romancy.core.words.ids import (
    automatic_child,
    derive,
    idempotency_key,
)
from romancy.core.words.message_events import (
    Listed,
    MembersAsked,
    MembersListed,
    MessageAwaited,
    MessagePutAside,
    MessageReceived,
    MessageSent,
    RequestAnswered,
    RequestRefused,
    Subscribed,
    SubscriptionGranted,
    SubscriptionRefused,
    Unsubscribed,
    WaitCancelled,
    WaitTimedOut,
)
from romancy.core.words.messages import (
    NULL,
    Inquiry,
    Message,
    Mode,
    Said,
    Subscription,
    Topic,
    may_be_refused,
    mode_of_wait,
    said_in,
)
from romancy.core.words.place_events import (
    PlaceAsked,
    PlaceFreed,
    PlaceGranted,
    PlaceNotWanted,
    PlaceRefused,
)
from romancy.core.words.shared_empty import (
    NO_DICT,
)
from romancy.core.words.undo_events import UndoingBegan, UndoRegistered, UndoTakenBack

__all__ = [
    "FUTURE",
    "KINDS",
    "NO_DICT",
    "NULL",
    "RULES",
    "TERMINAL",
    "Activation",
    "ActivityAttemptFailed",
    "ActivityCancelRequested",
    "ActivityCancelled",
    "ActivityCompleted",
    "ActivityDefinition",
    "ActivityFailed",
    "ActivityScheduled",
    "Begins",
    "BegunByHand",
    "CancelActivity",
    "CancelChild",
    "CancelRequested",
    "CancelTimer",
    "ChildCancelRequested",
    "ChildCancelled",
    "ChildCompleted",
    "ChildFailed",
    "ChildStarted",
    "Commands",
    "CompensationAttemptFailed",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationScheduled",
    "Complaint",
    "ContinueAsNew",
    "DefaultTaken",
    "Departure",
    "DivergedError",
    "DrawsCounted",
    "Effect",
    "Ends",
    "Fails",
    "Input",
    "InputDeferred",
    "Inquiry",
    "Listed",
    "LogEvent",
    "MembersAsked",
    "MembersListed",
    "Message",
    "MessageAwaited",
    "MessagePublished",
    "MessagePutAside",
    "MessageReceived",
    "MessageSent",
    "Mode",
    "OwnerChanged",
    "Parent",
    "Part",
    "PlaceAsked",
    "PlaceFreed",
    "PlaceGranted",
    "PlaceNotWanted",
    "PlaceRefused",
    "ProgressReported",
    "Publish",
    "Recall",
    "Report",
    "RequestAnswered",
    "RequestRefused",
    "Run",
    "RunDropped",
    "RunEnd",
    "Said",
    "StartActivity",
    "StartChild",
    "StartCompensation",
    "StartTimer",
    "State",
    "StopAt",
    "StreamWritten",
    "Subscribed",
    "Subscription",
    "SubscriptionGranted",
    "SubscriptionRefused",
    "TimerCancelled",
    "TimerFired",
    "TimerStarted",
    "Topic",
    "UndoRegistered",
    "UndoTakenBack",
    "UndoingBegan",
    "Unsubscribed",
    "WaitAnswer",
    "WaitCancelled",
    "WaitTimedOut",
    "WorkflowAbandoned",
    "WorkflowCancelled",
    "WorkflowCaughtUp",
    "WorkflowCompleted",
    "WorkflowContinued",
    "WorkflowDefinition",
    "WorkflowFailed",
    "WorkflowForked",
    "WorkflowParked",
    "WorkflowResumed",
    "WorkflowRetried",
    "WorkflowRewound",
    "WorkflowStarted",
    "as_caught",
    "automatic_child",
    "begin_of_retry",
    "begun",
    "conditions_of_body",
    "current_commands",
    "current_run",
    "decode_commit",
    "derive",
    "driving",
    "encode_commit",
    "enter_task",
    "failure_of",
    "idempotency_key",
    "is_in_a_workflow",
    "kept",
    "kept_id",
    "leave_task",
    "may_be_refused",
    "mode_conflict",
    "mode_of_wait",
    "not_in_a_workflow",
    "outcome_of",
    "own_classes",
    "place_of_body",
    "place_of_point",
    "raised_again",
    "replay",
    "run_of_child",
    "running_loop",
    "said_in",
    "threads",
    "undone_early",
    "wanted_by",
    "without_values",
    "words_of",
]

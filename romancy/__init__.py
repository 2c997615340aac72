"""Durable execution for Python: plain `async def` workflows that survive any crash."""

from __future__ import annotations

import romancy._oldest_versions  # noqa: F401  # pyright: ignore[reportUnusedImport] - refuses a Python that cannot read the rest
from romancy import _ctrl_c  # noqa: F401  # pyright: ignore[reportUnusedImport] - before the imports that take long
from romancy._lists import ReadLag
from romancy._named_workflows import WorkflowType
from romancy.activity import Activity, activity, compensation
from romancy.app import Romancy
from romancy.attempt_context import ActivityContext, activity_context
from romancy.channel import ActivityChannel, Channel, ChannelMember, Message, WorkflowChannel
from romancy.checking import Check, Misfit
from romancy.context import WorkflowContext, current_workflow, in_workflow
from romancy.declaring.undo import Undo
from romancy.depends import Depends
from romancy.entity import EntityContext, entity, entity_context
from romancy.errors import (
    ActivityError,
    ActivityTimeoutError,
    ActivityUnknownError,
    ChannelModeConflictError,
    CodecError,
    DatabaseReplacedError,
    EntityCircleError,
    EventTimeoutError,
    Expected,
    Failure,
    HeartbeatTimeoutError,
    InstanceConflictError,
    InstanceEndedError,
    InstanceNotFoundError,
    NonDeterminismError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    PlaceExpiredError,
    QueryError,
    QuestionAnsweredError,
    QuestionNotFoundError,
    RefusedError,
    RegistrationError,
    RequestError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestUnansweredError,
    RetryExhaustedError,
    RomancyError,
    SerializationError,
    StartSkippedError,
    StorageError,
    StorageUnavailableError,
    StreamFullError,
    StreamGoneError,
    TerminalError,
    TooManyFailedError,
    UnawaitedCallError,
    UsageError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowStuckError,
    WorkflowTimeoutError,
    WorkflowUnknownError,
)
from romancy.event import Event, EventType, Sent
from romancy.failure import FailureGroup, FailureGroups
from romancy.going_back import ForkPlan, ForkStep
from romancy.handle import Handle
from romancy.instance import Counts, Instance, InstancePage, Purged, Untaken, Wait
from romancy.kept_logs import KeepLogs, LogLine, LogPage
from romancy.limit import Limit
from romancy.log import LogEntry
from romancy.managing.activities import PausedActivity
from romancy.managing.lanes import Lane
from romancy.managing.workflows import PausedWorkflow
from romancy.mapping import MapOutcome, Mapped
from romancy.messages.channels import AppChannel
from romancy.messages.requests import Asked
from romancy.messages.subscriptions import Subscription
from romancy.moving.exporting import Exported
from romancy.moving.importing import Imported
from romancy.other_instance import OtherInstance
from romancy.question import Question, QuestionPage
from romancy.rates import Rates, RateSpan, WorkflowRates
from romancy.request import Request, RequestType
from romancy.retention import Retention
from romancy.retry import RetryPolicy
from romancy.schedules.handle import Schedule, ScheduleHandle
from romancy.schedules.records import ScheduleRun
from romancy.serialization import Codecs, HmacCodec, PayloadCodec, PayloadContext, ZlibCodec, register_type
from romancy.session import Session, SyncSession
from romancy.starting.entities import EntityHandle
from romancy.status import Status
from romancy.stream import ActivityStream, Stream, StreamItem, WorkflowStream, kept
from romancy.windows.handle import WindowHandle
from romancy.windows.listing import WindowPage
from romancy.windows.looking import Window
from romancy.windows.records import WindowStart
from romancy.workflow import Workflow, workflow

__all__ = [
    "Activity",
    "ActivityChannel",
    "ActivityContext",
    "ActivityError",
    "ActivityStream",
    "ActivityTimeoutError",
    "ActivityUnknownError",
    "AppChannel",
    "Asked",
    "Channel",
    "ChannelMember",
    "ChannelModeConflictError",
    "Check",
    "CodecError",
    "Codecs",
    "Counts",
    "DatabaseReplacedError",
    "Depends",
    "EntityCircleError",
    "EntityContext",
    "EntityHandle",
    "Event",
    "EventTimeoutError",
    "EventType",
    "Expected",
    "Exported",
    "Failure",
    "FailureGroup",
    "FailureGroups",
    "ForkPlan",
    "ForkStep",
    "Handle",
    "HeartbeatTimeoutError",
    "HmacCodec",
    "Imported",
    "Instance",
    "InstanceConflictError",
    "InstanceEndedError",
    "InstanceNotFoundError",
    "InstancePage",
    "KeepLogs",
    "Lane",
    "Limit",
    "LogEntry",
    "LogLine",
    "LogPage",
    "MapOutcome",
    "Mapped",
    "Message",
    "Misfit",
    "NonDeterminismError",
    "OtherInstance",
    "OutcomeUnknownError",
    "PausedActivity",
    "PausedWorkflow",
    "PayloadCodec",
    "PayloadContext",
    "PayloadTooLargeError",
    "PlaceExpiredError",
    "Purged",
    "QueryError",
    "Question",
    "QuestionAnsweredError",
    "QuestionNotFoundError",
    "QuestionPage",
    "RateSpan",
    "Rates",
    "ReadLag",
    "RefusedError",
    "RegistrationError",
    "Request",
    "RequestError",
    "RequestFailedError",
    "RequestRefusedError",
    "RequestTimeoutError",
    "RequestType",
    "RequestUnansweredError",
    "Retention",
    "RetryExhaustedError",
    "RetryPolicy",
    "Romancy",
    "RomancyError",
    "Schedule",
    "ScheduleHandle",
    "ScheduleRun",
    "Sent",
    "SerializationError",
    "Session",
    "StartSkippedError",
    "Status",
    "StorageError",
    "StorageUnavailableError",
    "Stream",
    "StreamFullError",
    "StreamGoneError",
    "StreamItem",
    "Subscription",
    "SyncSession",
    "TerminalError",
    "TooManyFailedError",
    "UnawaitedCallError",
    "Undo",
    "Untaken",
    "UsageError",
    "Wait",
    "Window",
    "WindowHandle",
    "WindowPage",
    "WindowStart",
    "Workflow",
    "WorkflowCancelledError",
    "WorkflowChannel",
    "WorkflowContext",
    "WorkflowFailedError",
    "WorkflowRates",
    "WorkflowStream",
    "WorkflowStuckError",
    "WorkflowTimeoutError",
    "WorkflowType",
    "WorkflowUnknownError",
    "ZlibCodec",
    "activity",
    "activity_context",
    "compensation",
    "current_workflow",
    "entity",
    "entity_context",
    "in_workflow",
    "kept",
    "register_type",
    "workflow",
]

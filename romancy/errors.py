"""Every error Romancy raises, in one hierarchy whose branches say where the cause is.

    RomancyError
    ├── TerminalError                 raised by an activity: do not try this again
    │   └── Expected                  … nor warn anybody: this belongs to the business
    ├── ActivityError                 an activity failed; the cause travels with it
    │   ├── RetryExhaustedError       … after its last allowed attempt
    │   └── ActivityUnknownError      … perhaps: it is begun at most once, and its outcome is unknown
    ├── ActivityTimeoutError          an attempt at an activity took longer than its timeout
    ├── HeartbeatTimeoutError         an attempt at an activity was silent for too long
    ├── TooManyFailedError            more calls of a map have failed than may
    ├── WorkflowFailedError           the awaited workflow ended in failure
    ├── WorkflowCancelledError        the awaited workflow was cancelled
    ├── StartSkippedError             no place was free for a start under a limit
    ├── PlaceExpiredError             no place came in time under a limit
    ├── WorkflowStuckError            the awaited workflow does not continue: no worker runs it
    ├── EventTimeoutError             the awaited event did not come in time
    ├── RequestError                  a request to an instance has no reply
    │   ├── RequestFailedError        … because its handler raised an error
    │   ├── RequestRefusedError       … because the body refused it
    │   ├── RequestUnansweredError    … because a new run has begun
    │   └── RequestTimeoutError       … in time; it may still come
    ├── RefusedError                  a person has refused to answer a question of the workflow
    ├── UsageError                    the caller: a wrong argument, name, value or order of calls
    ├── UnawaitedCallError            the code: a workflow left a call or a task behind
    ├── NonDeterminismError           the code: it does not fit the log, or has left the loop
    ├── StorageError                  the database: absent, refusing, full, of another version
    └── InternalError                 a bug in Romancy, with what is needed to report it

Messages name what, where and what to do. They never carry payloads, passwords or connection strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = [
    "ActivityError",
    "ActivityTimeoutError",
    "ActivityUnknownError",
    "ChannelModeConflictError",
    "CodecError",
    "DatabaseReplacedError",
    "EventTimeoutError",
    "Expected",
    "Failure",
    "HeartbeatTimeoutError",
    "HistoryCorruptError",
    "HistoryVersionError",
    "InstanceConflictError",
    "InstanceEndedError",
    "InstanceNotFoundError",
    "InternalError",
    "NonDeterminismError",
    "OutcomeUnknownError",
    "PayloadTooLargeError",
    "PlaceExpiredError",
    "QueryError",
    "QuestionAnsweredError",
    "QuestionNotFoundError",
    "RefusedError",
    "RegistrationError",
    "RequestError",
    "RequestFailedError",
    "RequestRefusedError",
    "RequestTimeoutError",
    "RequestUnansweredError",
    "RetryExhaustedError",
    "RomancyError",
    "SchemaVersionError",
    "SerializationError",
    "StartSkippedError",
    "StorageConfigurationError",
    "StorageError",
    "StorageUnavailableError",
    "TerminalError",
    "TooManyFailedError",
    "UnawaitedCallError",
    "UsageError",
    "WorkflowCancelledError",
    "WorkflowFailedError",
    "WorkflowStuckError",
    "WorkflowUnknownError",
]


class RomancyError(Exception):
    """The root: `except RomancyError` catches everything this library raises on purpose."""


class TerminalError(RomancyError):
    """Raise it (or a subclass) in an activity when another attempt cannot help: it is never retried."""


class Expected(TerminalError):  # noqa: N818 - it says that something is no error
    """Raise it (or a subclass) for an outcome that belongs to the business, such as a declined card.

    It is never retried. Logs tell it as information and without a traceback, also where a workflow fails with it, and
    hooks and metrics tell it apart. `RetryPolicy(expected=…)` says the same of classes of others.
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as data: what code raised, in whichever process and however long ago."""

    type: str
    """`module.qualname` of its class; the name alone of a class that is built in."""
    message: str
    args: tuple[Any, ...] = ()
    """Its arguments, if they are JSON."""
    trace: str = ""
    """The frames of the code that raised it."""
    expected: bool = False
    """Whether it belongs to the business: see `Expected`."""
    members: tuple[tuple[Failure, ...], ...] = ()
    """Of a group: of each of its exceptions what `chain` is of one."""


class ActivityError(RomancyError):
    """An activity failed with an exception that could not be rebuilt as its own type.

    `chain` has what the last attempt raised, then its cause, and so on to what was raised first.
    """

    def __init__(
        self,
        message: str,
        *,
        activity_id: str = "",
        error_type: str = "",
        trace: str = "",
        attempts: int = 1,
        chain: Sequence[Failure] = (),
    ) -> None:
        super().__init__(message)
        self.activity_id = activity_id
        self.error_type = error_type
        self.trace = trace
        self.attempts = attempts
        self.chain = tuple(chain)


class RetryExhaustedError(ActivityError):
    """Every attempt the retry policy allows has failed; `__cause__` is the last failure."""

    def __init__(
        self,
        message: str,
        *,
        activity_id: str = "",
        error_type: str = "",
        trace: str = "",
        attempts: int = 1,
        chain: Sequence[Failure] = (),
        history: Sequence[str] = (),
    ) -> None:
        super().__init__(
            message, activity_id=activity_id, error_type=error_type, trace=trace, attempts=attempts, chain=chain
        )
        self.history = tuple(history)


class ActivityUnknownError(ActivityError):
    """Nobody knows what an activity declared with `at_most_once=True` did: an attempt may have begun, and not ended.

    Its worker died or dropped the attempt, or the attempt reached a limit and did not answer; `__cause__` is then the
    error of that limit. The attempt may still run. No other one begins.
    """


class ActivityTimeoutError(RomancyError, TimeoutError):
    """An attempt at an activity took longer than its `timeout`. It was asked to stop and counts as failed."""


class HeartbeatTimeoutError(RomancyError, TimeoutError):
    """An attempt at an activity gave no heartbeat for its `heartbeat_timeout`. It was stopped and counts as failed."""


class WorkflowFailedError(RomancyError):
    """The workflow failed. `__cause__` is the exception that was raised, and `error_type` the name of its class.

    Behind retries and children it is the exception of the last attempt, with its arguments, and with its own causes. If
    its class is not known here, an `ActivityError` stands for it. `trace` has the frames of the code that raised it.
    `chain` has the same as data: that exception, then its cause, and so on to what was raised first.
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str = "",
        error_type: str = "",
        trace: str = "",
        chain: Sequence[Failure] = (),
    ) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.error_type = error_type
        self.trace = trace
        self.chain = tuple(chain)


class TooManyFailedError(RomancyError):
    """More calls of a `ctx.map` have failed than may, or all of a `ctx.first`. `__cause__` is the last failure."""


class WorkflowTimeoutError(WorkflowFailedError):
    """The workflow had not ended when it reached its limit, the `timeout` of its `options`. Its work was undone.

    It is no TimeoutError: `result(timeout=…)` raises that one for an instance that goes on.
    """


class WorkflowCancelledError(RomancyError):
    """The workflow was cancelled before it could finish."""

    def __init__(self, message: str, *, instance_id: str = "") -> None:
        super().__init__(message)
        self.instance_id = instance_id


class PlaceExpiredError(RomancyError):
    """No place came within the time for which a limit lets wait, its `expires`. Raised in the body of a workflow."""

    def __init__(self, message: str, *, limit: str = "", key: str = "") -> None:
        super().__init__(message)
        self.limit = limit
        self.key = key


class StartSkippedError(RomancyError):
    """No place was free under a limit with `full="skip"`: the instance was cancelled before its body began.

    `holders` are instances that had places when this was read: up to ten.
    """

    def __init__(
        self, message: str, *, instance_id: str = "", limit: str = "", key: str = "", holders: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.limit = limit
        self.key = key
        self.holders = tuple(holders)


class WorkflowStuckError(RomancyError):
    """The awaited workflow does not continue by itself: it is stuck, or no live worker knows it. Nothing is lost.

    `reason` says why, and the message says what to do. After that, `result()` waits again.
    """

    def __init__(self, message: str, *, instance_id: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.reason = reason


class EventTimeoutError(RomancyError, TimeoutError):
    """`wait_event` reached its timeout before a matching event arrived."""


class RequestError(RomancyError):
    """A request to an instance has no reply. `request` is its name, and `request_id` its id."""

    def __init__(self, message: str, *, instance_id: str = "", request: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.request = request
        self.request_id = request_id


class RequestFailedError(RequestError):
    """The handler of the request raised an error. `__cause__` is that error, and `error_type` the name of its class.

    If its class is not known here, an `ActivityError` stands for it. `trace` has the frames of the code that raised it.
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str = "",
        request: str = "",
        request_id: str = "",
        error_type: str = "",
        trace: str = "",
    ) -> None:
        super().__init__(message, instance_id=instance_id, request=request, request_id=request_id)
        self.error_type = error_type
        self.trace = trace


class RequestRefusedError(RequestFailedError):
    """The body refused the request: its `validate=` raised `__cause__`, or its data does not fit the declared type."""


class RequestUnansweredError(RequestError):
    """The run that had received the request went on as a new run, and had not answered it. No answer will come."""


class EntityCircleError(RomancyError):
    """An entity was called by what it waits for itself, so that both would wait for ever. Nothing was sent.

    `instance_id` is the entity that was called, `callers` are those that wait, the outermost first.
    """

    def __init__(self, message: str, *, instance_id: str = "", callers: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.callers = callers


class RequestTimeoutError(RequestError, TimeoutError):
    """No answer came within the timeout of the call. The request stays, and may be answered later: ask with its id."""


class RefusedError(RomancyError):
    """Somebody has refused to answer what `ctx.ask` asks, for this `reason`. `by` says who, if the sender did."""

    def __init__(self, message: str, *, question: str = "", reason: str = "", by: str | None = None) -> None:
        super().__init__(message)
        self.question = question
        self.reason = reason
        self.by = by


class UsageError(RomancyError):
    """The call cannot be carried out as written. Nothing has been written to the database."""


class RegistrationError(UsageError):
    """A decorator or an app was given a function it cannot use, or two functions under one name."""


class WorkflowUnknownError(WorkflowStuckError, UsageError):
    """No live worker knows the awaited workflow, nor does this app's own worker."""


class SerializationError(UsageError, TypeError):
    """A value cannot be written as JSON or read back as its declared type. The message holds the path."""


class PayloadTooLargeError(UsageError):
    """An event or a commit exceeds the size limit, which is the same on every database."""


class QueryError(UsageError, ValueError):
    """A filter, a path, a page token or a limit is malformed. No query was sent."""


class InstanceConflictError(UsageError):
    """The instance id is taken by an instance of another workflow or with another input.

    `conflicts` holds the ids for which that is so. `started` holds the other ids of the same call, whose instances
    exist now.
    """

    def __init__(self, message: str, *, conflicts: Iterable[str] = (), started: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.conflicts = tuple(conflicts)
        self.started = tuple(started)


class StreamGoneError(UsageError):
    """An offset is of another stream, or what is behind it was removed: read the stream from its beginning."""


class StreamFullError(TerminalError):
    """A stream takes no more: its instance's have all that they may hold, or too much waits for the database."""


class ChannelModeConflictError(UsageError):
    """The channel has subscribers of the mode `existing`, so it accepts none of the mode `requested`."""

    def __init__(self, message: str, *, channel: str = "", existing: str = "", requested: str = "") -> None:
        super().__init__(message)
        self.channel = channel
        self.existing = existing
        self.requested = requested


class InstanceNotFoundError(UsageError, LookupError):
    """There is no instance with this id."""


class QuestionNotFoundError(UsageError, LookupError):
    """There is no question with this token: it is false, or the log that had the question is gone."""


class QuestionAnsweredError(UsageError):
    """The question is not open any more, so this answer has no effect.

    `how` says why: it was "answered" or "refused", its time is over ("expired"), or the workflow does not ask it any
    more ("withdrawn"). `by` says who has answered or refused, and `at` when, as far as the log tells.
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str = "",
        question: str = "",
        how: str = "answered",
        by: str | None = None,
        at: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.question = question
        self.how = how
        self.by = by
        self.at = at


class InstanceEndedError(UsageError):
    """The instance has ended, with this `status`, and would never receive the message, or answer the request."""

    def __init__(self, message: str, *, instance_id: str = "", status: str = "") -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.status = status


class UnawaitedCallError(RomancyError):
    """The workflow returned with a call that was never awaited, or while a task had an activity or a child in flight.

    The task is cancelled, and with it its call. The text names the calls, and the tasks with what they waited for.
    """


class NonDeterminismError(RomancyError):
    """The workflow's code and its log disagree, or the code tried to leave the deterministic loop."""


class StorageError(RomancyError):
    """The database did not carry out the call."""


class StorageConfigurationError(StorageError):
    """The store cannot be used as configured: unknown scheme, missing driver, wrong password, old server."""


class DatabaseReplacedError(StorageConfigurationError):
    """The file was deleted, moved or replaced while it was open. Writes to it are lost with the process."""


class CodecError(StorageConfigurationError):
    """The codecs of this app cannot read, or cannot write, a payload. It was left unchanged."""


class StorageUnavailableError(StorageError):
    """The database cannot be reached now. It is safe to try again; an engine does so by itself."""

    maybe_written = False
    """Whether the database may have carried out the call all the same: it was sent, and the answer was lost."""


class OutcomeUnknownError(StorageUnavailableError):
    """The call was sent to the database, and no answer came. It may take effect all the same.

    A call with an id of yours can be repeated with that id: `instance_ids` are those of starts, `message_id` is that of
    a signal or an event. If the answer to a COMMIT of your own writes was lost, find out whether they took effect.
    """

    maybe_written = True

    def __init__(self, message: str, *, instance_ids: Sequence[str] = (), message_id: str | None = None) -> None:
        super().__init__(message)
        self.instance_ids = tuple(instance_ids)
        self.message_id = message_id


class SchemaVersionError(StorageError):
    """This version of Romancy cannot use the schema: newer code made it, or it is too old and may not be changed."""


class HistoryVersionError(StorageError):
    """The log holds an event that this version does not know: newer code wrote it. Leave it to newer workers."""


class HistoryCorruptError(StorageError):
    """A row of the log cannot be read, or rows are missing. The instance was left unchanged."""


class InternalError(RomancyError):
    """Romancy broke one of its own rules. Please report it with this text."""

"""Turns a failure in the log into the exception that the workflow catches."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.core.run.own_errors import classes_of, exhausted_as, own_classes
from romancy.core.run.terminal import terminal_errors
from romancy.errors import (
    ActivityTimeoutError,
    ActivityUnknownError,
    HeartbeatTimeoutError,
    RetryExhaustedError,
    TerminalError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from romancy.serialization import exception_name, failures_in, rebuild_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from romancy.core.words import events as ev
    from romancy.core.words.definitions import ActivityDefinition, CalledWorkflow
    from romancy.serialization import ErrorInfo

__all__ = ["activity_error", "as_caught", "child_error", "failure_of", "undo_error"]


def child_error(event: ev.ChildFailed, instance_id: str, definition: CalledWorkflow) -> WorkflowFailedError:
    """The failure of a child, caused by what its code has raised."""
    error = event.error
    told = f"child workflow {event.id} failed: {error.type}: {error.message}"
    return failure_of(error, told, names_in(error.raised), definition.fn, instance_id)


def failure_of(
    error: ErrorInfo, told: str, named: Collection[str], fn: Callable[..., Any], instance_id: str
) -> WorkflowFailedError:
    """The failure of a workflow, for whoever waited for it, with what `raised_again` returns as its cause."""
    raised = error.raised
    kind, cause = WorkflowFailedError, None
    if error.type == _LATE and error.cause is None:
        kind, cause = WorkflowTimeoutError, TimeoutError(error.message)
    failed = kind(
        told,
        instance_id=instance_id,
        error_type=raised.type,
        trace=raised.trace or error.trace,
        chain=failures_in(error),
    )
    failed.__cause__ = raised_again(error, named, fn) if cause is None else cause
    return failed


def raised_again(error: ErrorInfo, named: Collection[str], fn: Callable[..., Any]) -> Exception:
    """The exception that code of the user's has raised, with its causes, for whoever waits outside of the workflow.

    `fn` is the function of the workflow, if it is known. Classes of other names than those in `named` are not looked
    for.
    """
    raised = error.raised
    return rebuild_exception(raised, own_classes(raised, named, fn) | _ALWAYS)


def names_in(info: ErrorInfo) -> set[str]:
    """The names of all classes in the record."""
    others = [*info.members, *(() if info.cause is None else (info.cause,))]
    return {info.type, *info.bases}.union(*map(names_in, others))


_LATE: Final = exception_name(WorkflowTimeoutError)
_UNKNOWN: Final = exception_name(ActivityUnknownError)
_LIMITS: Final = {exception_name(kind): kind for kind in (ActivityTimeoutError, HeartbeatTimeoutError)}
"""Our own errors that a workflow catches by their classes."""
_ALWAYS: Final = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
} | {**_LIMITS, _UNKNOWN: ActivityUnknownError}


def as_caught(
    event: ev.ActivityFailed, definition: ActivityDefinition, named: Collection[str], error: BaseException | None
) -> ev.ActivityFailed:
    """The event with the names of the types that the workflow catches it as. `named` are those that the app knows.

    Live and on replay, the choice is read from the log. A type that is not found by its name is not chosen.
    """
    known = {*named, *_LIMITS, *map(exception_name, definition.given.raises)}
    own = own_classes(event.error, known, definition.fn, error)
    return msgspec.structs.replace(event, own=tuple(own)) if own else event


def activity_error(event: ev.ActivityFailed, definition: ActivityDefinition, failures: tuple[str, ...]) -> Exception:
    """A declared or terminal error of its own class; any other as the error for exhausted retries.

    Raises NonDeterminismError if the log names a class that cannot be found.
    """
    declared: dict[str, type[Exception]] = {exception_name(kind): kind for kind in definition.given.raises}
    own = classes_of(event, definition.fn, declared)
    allowed = _ALWAYS | terminal_errors(event.error, definition.fn) | own | declared
    cause = rebuild_exception(event.error, allowed, activity_id=event.id, attempts=event.attempts)
    if isinstance(cause, (TerminalError, *definition.given.raises)):
        return cause
    if event.unknown and event.error.type == _UNKNOWN:
        return _unknown(event, cause)
    told = f"activity {event.id} failed after {event.attempts} attempt(s)"
    what: dict[str, Any] = {
        "activity_id": event.id,
        "error_type": event.error.type,
        "trace": event.error.trace,
        "attempts": event.attempts,
        "chain": failures_in(event.error),
        "history": (*failures, f"{event.error.type}: {event.error.message}"),
    }
    name = next((name for name in (event.error.type, *event.error.bases) if name in own), None)
    text = f"{told}: {event.error.type}: {event.error.message}"
    info = msgspec.structs.replace(event.error, message=text) if name in _LIMITS else event.error
    error = None if name is None else exhausted_as(own[name], name, info)
    if error is None:
        error = RetryExhaustedError(text, **what)
    else:
        _give(error, what | {"__notes__": [told]})
    object.__setattr__(error, "__cause__", cause)
    return error


def undo_error(event: ev.CompensationFailed) -> RetryExhaustedError:
    """The error for an undo that has failed for good, while the body goes on."""
    error = event.error
    failed = RetryExhaustedError(
        f"the undo {event.id} failed after {event.attempts} attempt(s): {error.type}: {error.message}",
        activity_id=event.id,
        error_type=error.type,
        trace=error.trace,
        attempts=event.attempts,
        chain=failures_in(error),
    )
    failed.__cause__ = rebuild_exception(error, _ALWAYS, activity_id=event.id, attempts=event.attempts)
    return failed


def _unknown(event: ev.ActivityFailed, rebuilt: BaseException) -> ActivityUnknownError:
    """The error of an activity that is begun at most once. `rebuilt` has the cause of the record."""
    error = ActivityUnknownError(
        event.error.message,
        activity_id=event.id,
        error_type=event.error.type,
        attempts=event.attempts,
        chain=failures_in(event.error),
    )
    error.__cause__ = rebuilt.__cause__
    return error


def _give(error: Exception, attributes: dict[str, Any]) -> None:
    """Set the attributes of a RetryExhaustedError, except those that the exception's own class defines."""
    its = {name for cls in type(error).__mro__ for name in vars(cls)} | vars(error).keys()
    for name in attributes.keys() - its:
        object.__setattr__(error, name, attributes[name])

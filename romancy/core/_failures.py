"""From a failure in the log to the exception that the workflow catches."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Final

from romancy.core._terminal import terminal_errors
from romancy.errors import HeartbeatTimeoutError, RetryExhaustedError, TerminalError, WorkflowFailedError
from romancy.serialization import exception_name, rebuild_exception

if TYPE_CHECKING:
    from romancy.core import _events as ev
    from romancy.core._definitions import ActivityDefinition

__all__ = ["activity_error", "child_error"]


def child_error(event: ev.ChildFailed, instance_id: str) -> WorkflowFailedError:
    error = event.error
    return WorkflowFailedError(
        f"child workflow {event.id} failed: {error.type}: {error.message}",
        instance_id=instance_id,
        error_type=error.type,
        trace=error.trace,
    )


_ALWAYS: Final = {
    name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)
} | {exception_name(HeartbeatTimeoutError): HeartbeatTimeoutError}


def activity_error(event: ev.ActivityFailed, definition: ActivityDefinition, failures: tuple[str, ...]) -> Exception:
    """A declared or terminal error as itself; any other as what is left when the retries are used up."""
    declared: dict[str, type[Exception]] = {exception_name(kind): kind for kind in definition.raises}
    allowed = _ALWAYS | terminal_errors(event.error, definition.fn) | declared
    cause = rebuild_exception(event.error, allowed, activity_id=event.id, attempts=event.attempts)
    if isinstance(cause, (TerminalError, *definition.raises)):
        return cause
    error = RetryExhaustedError(
        f"activity {event.id} failed after {event.attempts} attempt(s): {event.error.type}: {event.error.message}",
        activity_id=event.id,
        error_type=event.error.type,
        trace=event.error.trace,
        attempts=event.attempts,
        history=[*failures, f"{event.error.type}: {event.error.message}"],
    )
    error.__cause__ = cause
    return error

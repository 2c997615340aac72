"""The group of a failed instance, which is written with its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import ActivityFailed, ChildFailed
from romancy.serialization import failed_call
from romancy.storage.failures import About, fold, member_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import LogEvent
    from romancy.engine.interests import Difference
    from romancy.serialization import ErrorInfo
    from romancy.storage.routing import Interest
    from romancy.workflow import Workflow

__all__ = ["interest_of_failure", "with_failure"]


def with_failure(
    routing: Difference, definition: Workflow[..., object], events: Sequence[LogEvent], error: ErrorInfo, release: str
) -> Difference:
    """The difference of the end of a run that fails, with the group of its failure."""
    failure = interest_of_failure(error, events, workflow=definition.name, code=definition.code, release=release)
    return routing._replace(new=(*routing.new, failure))


def interest_of_failure(
    error: ErrorInfo, events: Iterable[LogEvent], *, workflow: str, code: str, release: str
) -> Interest:
    """The interest of an instance that fails with this error, behind these events of its last commit."""
    raised = error.raised
    about = About(
        workflow=workflow,
        type=raised.type,
        activity=_name_in(failed_call(error) or _call_with(raised, events)),
        text=fold(raised.message),
        code=code,
        release=release,
    )
    return member_of(about)


def _call_with(raised: ErrorInfo, events: Iterable[LogEvent]) -> str:
    """The id of the activity or child that ended just now with the error that nothing has caught."""
    for event in events:
        if isinstance(event, (ActivityFailed, ChildFailed)):
            ended = event.error.raised
            if (ended.type, ended.message) == (raised.type, raised.message):
                return event.id
    return ""


def _name_in(call: str) -> str:
    """The name in an id that was made of it, `charge:2`. An id that the user chose is folded."""
    name, _, number = call.rpartition(":")
    return name if name and number.isascii() and number.isdigit() else fold(call)

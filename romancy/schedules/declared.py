"""The definition of a schedule from the arguments of `app.schedule`. Raises UsageError before anything is written."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from romancy._start_options import check_no_child, kept
from romancy.errors import UsageError
from romancy.schedules.records import Definition
from romancy.storage.limits import check_id
from romancy.workflow import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy._schedule_options import ScheduleOptions

__all__ = ["check_schedule_id", "definition_of"]

_LONGEST_ID: Final = 200
"""In bytes. The ids of the runs add the time to it."""


def definition_of(
    schedule_id: str,
    call: Call[Any],
    options: ScheduleOptions,
    stored: Callable[[bytes], int] | None = None,
    *,
    declared: bool = False,
) -> Definition:
    """The definition of a schedule that starts this call. Raises UsageError and SerializationError."""
    what = f"schedule {schedule_id!r}"
    if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance] - callers need no types
        raise UsageError(
            f"{what}: give the workflow with its arguments, as in workflow.bind(…), not a {type(call).__name__}"
        )
    given = call.workflow.given
    if given.instance_id is not None or given.delay or given.at is not None:
        raise UsageError(
            f"{what}: its runs get their ids and their times from the schedule; leave instance_id=, delay= and at= "
            f"out of {call.workflow.name}.options(…)"
        )
    check_no_child(given, call.workflow.name)
    if given.paused:
        raise UsageError(f"{what}: leave paused= out of {call.workflow.name}.options(…); pause the schedule instead")
    input = call.encode(stored)
    return Definition(
        id=schedule_id,
        options=options,
        workflow=call.workflow.name,
        input=input,
        digest=sha256(input).hexdigest(),
        declared=declared,
        **kept(given),
    )


def check_schedule_id(schedule_id: str) -> None:
    """Raise UsageError if this cannot be the id of a schedule."""
    check_id(schedule_id, "id of the schedule")
    if len(schedule_id.encode()) > _LONGEST_ID:
        raise UsageError(
            f"the id of a schedule has at most {_LONGEST_ID} bytes, because the ids of its runs begin with it"
        )

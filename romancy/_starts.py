"""What starting takes beside the store: checks of what is started, new ids, and one answer for many starts."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy.errors import InstanceConflictError, RomancyError, UsageError
from romancy.workflow import Call, Workflow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from romancy.handle import Handle

__all__ = ["all_of", "check_call", "check_workflow", "new_id"]

T = TypeVar("T")

_NAMED: Final = 5


async def all_of(starts: Iterable[Awaitable[Handle[T]]], beside: type[RomancyError]) -> list[Handle[T]]:
    """The handles of them all, or one error about those that failed. Others are waited for after errors of `beside`."""
    started: list[Handle[T]] = []
    failures: list[RomancyError] = []
    for start in starts:
        try:
            started.append(await start)
        except beside as error:
            failures.append(error)
    if not failures:
        return started
    if not started and len(failures) == 1:
        raise failures[0]
    raise _summary(failures, [handle.instance_id for handle in started])


def _summary(failures: Sequence[RomancyError], started: Sequence[str]) -> RomancyError:
    conflicts = [error for error in failures if isinstance(error, InstanceConflictError)]
    if len(conflicts) < len(failures):
        worst = next(error for error in failures if error not in conflicts)
        worst.add_note(f"{len(failures)} of {len(failures) + len(started)} instances could not be started, this is one")
        return worst
    named = "; ".join(str(error) for error in conflicts[:_NAMED])
    more = f"; and {len(conflicts) - _NAMED} more" if len(conflicts) > _NAMED else ""
    return InstanceConflictError(
        f"{len(conflicts)} of {len(conflicts) + len(started)} instances could not be started, the others were: "
        f"{named}{more}",
        conflicts=[instance_id for error in conflicts for instance_id in error.conflicts],
        started=started,
    )


def check_workflow(wf: Any) -> None:
    if not isinstance(wf, Workflow):
        raise UsageError(f"a workflow is started, a function decorated with @workflow, not a {type(wf).__name__}")


def check_call(call: Any) -> None:
    if not isinstance(call, Call):
        raise UsageError(f"start_many takes workflows with their arguments, `wf.bind(…)`, not a {type(call).__name__}")


def new_id() -> str:
    """An id that nobody has. They sort by time: in the database what is at work together lies together."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"

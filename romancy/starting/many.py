"""Starts many instances by one call. The event loop gets its turns in between, and one answer covers all starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from romancy.errors import InstanceConflictError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from romancy.errors import RomancyError
    from romancy.handle import Handle

__all__ = ["AT_ONCE", "all_of"]

T = TypeVar("T")

AT_ONCE: Final = 200
"""How many starts are prepared in one turn of the event loop."""
_NAMED: Final = 5


async def all_of(starts: Iterable[Awaitable[Handle[T]]], beside: type[RomancyError]) -> list[Handle[T]]:
    """The handles of all starts, or one error about the failed ones. An error of type `beside` stops no start."""
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

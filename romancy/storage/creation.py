"""What the row of a new instance shows, by the append that creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from romancy.storage.records import Append, Create

__all__ = ["Fresh", "fresh"]


class Fresh(NamedTuple):
    """The columns that depend on whether the code of the instance was run before it was written."""

    status: str
    error: str | None
    wake_at: int | None
    """When the instance is due. None: at `delay`."""
    delay: int | None
    """Microseconds from now until it is due. None, with `wake_at` None: when something is delivered."""


def fresh(item: Append, create: Create) -> Fresh:
    """The columns of the row that this first append creates."""
    change = item.change
    if change is None:
        return Fresh(Status.PENDING.value, None, None, None if create.owner is not None else create.delay)
    rests = change.release and change.status not in TERMINAL_STATUSES
    return Fresh(change.status.value, change.error, change.wake_at if rests else None, None)

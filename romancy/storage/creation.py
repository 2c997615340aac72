"""What the row of a new instance shows, by the append that creates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from romancy.storage.records import Append, Create

__all__ = ["Fresh", "due_at", "fresh"]


class Fresh(NamedTuple):
    """The columns that depend on whether the code of the instance was run before it was written."""

    status: str
    error: str | None
    wake_at: int | None
    """When the instance is due. None: after `delay`."""
    delay: int | None
    """Microseconds from now until it is due. With `wake_at`: it is due at the later of both. Without one of them: when
    something is delivered.
    """


def fresh(item: Append, create: Create) -> Fresh:
    """The columns of the row that this first append creates."""
    change = item.change
    if change is None:
        wake_at, delay = (None, None) if create.owner is not None else (create.at, create.delay)
        return Fresh(Status.PENDING.value, None, wake_at, delay)
    rests = change.release and change.status not in TERMINAL_STATUSES
    return Fresh(change.status.value, change.error, change.wake_at if rests else None, None)


def due_at(wake_at: int | None, delay: int, now: int) -> int:
    """When an instance is due that is created now and waits for this."""
    return now + delay if wake_at is None else max(wake_at, now + delay)

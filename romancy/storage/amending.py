"""The service that amends the last row of a log, for what the log keeps the last state of only.

A log grows otherwise. A row is amended by its writer's worker alone, and only while nothing stands behind it: whoever
appends behind a row changes the row of the instance, which this holds, or is the worker itself. So no two can decide
about one place, and a late copy of an append never meets a free one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Step

__all__ = ["Amending", "LastRows", "on_amendment"]


class LastRows(NamedTuple):
    """What an amendment found."""

    owner: str | None
    """Who owns the instance. None: nobody, or there is no instance of this life."""
    writer: str | None
    """The writer of the row at its place. None: there is none."""
    more: bool
    """Whether a row stands behind it."""


def on_amendment(item: Step, found: LastRows, worker: str) -> Outcome | None:
    """The outcome of an amendment. ACCEPTED means that an earlier copy is in; None: nothing is in the way."""
    if found.writer == item.writer:
        return Outcome.ACCEPTED
    if found.owner != worker or found.writer != item.behind or found.more:
        return Outcome.LOST
    return None


class Amending(Protocol):
    """Puts rows into the places of those that are the last ones of their logs."""

    async def amend(self, batch: Sequence[Step], /, *, worker: str) -> list[Outcome]:
        """Put each item into the place of the last row of its log, which has its `seq` and the writer `behind`.

        One outcome per item, in order; an instance appears once. LOST: the worker does not own the instance, the row is
        another's, or there is one behind it. An item sent again (same nonce) is ACCEPTED if any copy of it is in. The
        row has the time of the database, as every other. Nobody is woken.
        """
        ...

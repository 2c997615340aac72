"""Counts for people who look: how many instances there are, in bounded time however many there are.

An adapter offers them as `tally` of its store, or leaves it out: the engine never asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from romancy.status import Status
    from romancy.storage.protocol import Store

__all__ = ["Count", "Tally", "Tallying", "tally_of"]


class Count(NamedTuple):
    """How many there are, at most as many as were asked for, and when the oldest was started."""

    number: int
    oldest: int | None


class Tally(NamedTuple):
    """The counts of one moment, or nearly."""

    statuses: dict[Status, Count]
    """Of all instances. Statuses that none has may be missing."""
    newest: dict[tuple[str, Status], Count]
    """Of the newest instances alone, by workflow and status."""


class Tallying(Protocol):
    async def __call__(self, *, most: int, newest: int) -> Tally:
        """Count up to `most` instances of each status, and the `newest` instances by workflow.

        It writes nothing, and reads no more than that many entries of an index for each count.
        """
        ...


def tally_of(store: Store) -> Tallying | None:
    """The store's `tally`, or None if it has none."""
    tally: Tallying | None = getattr(store, "tally", None)
    return tally

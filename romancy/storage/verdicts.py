"""Verdicts: why an item, a delivery or a posting is refused, decided without a database.

A verdict explains, and never grants. Only the statement that writes decides, under the fence and its locks, that
something is accepted. A store that this statement has refused reads the rows named by the facts here, and asks for the
reason. A store with one writer may ask before it writes, while its transaction holds the write lock.

Of several reasons, the first one is the answer, in the order in which a function names them. ACCEPTED means that an
earlier copy is in. None means that nothing is in the way, or nothing is any more: the store writes again, or says that
the sender may (`Outcome.LOCKED`, `StorageUnavailableError`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from romancy.status import TERMINAL_STATUSES
from romancy.storage.records import Delivered, Outcome

if TYPE_CHECKING:
    from romancy.storage.records import Append, Change, Start, Step

__all__ = [
    "EffectFacts",
    "PlaceFacts",
    "RowFacts",
    "StartFacts",
    "on_append",
    "on_delivery",
    "on_effects",
    "on_place",
    "on_posting",
    "on_start",
]


class PlaceFacts(Struct, frozen=True, kw_only=True, gc=False):
    """What an append found in the log, and of its worker."""

    writer: str | None
    """The writer of the row at its place. None: the place is free."""
    before: str | None
    """The writer of the row before. None: there is no such row."""
    alive: bool
    """Whether the worker that writes is alive."""


class StartFacts(Struct, frozen=True, kw_only=True, gc=False):
    """What a start found."""

    taken: bool
    """Whether an instance has the id, of whatever life."""
    first: str | None
    """The writer of the first row in the log of the start's own life. None: there is no such row."""
    alive: bool
    """Whether the owner is alive. Without an owner, nobody looks at it."""


class RowFacts(Struct, frozen=True, kw_only=True, gc=False):
    """The row of the instance that an append changes."""

    life: int
    status: str
    signals: int


class EffectFacts(Struct, frozen=True, kw_only=True, gc=False):
    """What the effects of an append found."""

    starts: tuple[StartFacts, ...] = ()
    """One for each of `Append.starts`, in order."""
    row: RowFacts | None = None
    """None: no instance has the id. Without a change, nobody looks at it."""
    missing: bool = False
    """Whether one of `Append.consumed` is not in the inbox."""


def on_append(append: Append, place: PlaceFacts, effects: EffectFacts) -> Outcome | None:
    """The outcome of an append: first by its place in the log, then by its effects."""
    return on_place(append, place) or on_effects(append, effects)


def on_place(append: Step | Append, facts: PlaceFacts) -> Outcome | None:
    """The fence. A step is judged by nothing else."""
    if facts.writer is not None:
        return Outcome.ACCEPTED if facts.writer == append.writer else Outcome.TAKEN
    if not facts.alive:
        return Outcome.DEAD
    behind = append.behind
    if behind is not None and behind != facts.before:
        return Outcome.LOST if behind else Outcome.ENDED
    return None


def on_effects(append: Append, facts: EffectFacts) -> Outcome | None:
    """The effects of an append whose place is free and whose worker is alive."""
    for start, found in zip(append.starts, facts.starts, strict=True):
        if on_start(start, found) not in (None, Outcome.ACCEPTED):
            return Outcome.EXISTS
    if append.change is not None:
        refusal = _on_change(append, append.change, facts.row)
        if refusal is not None:
            return refusal
    return Outcome.GONE if facts.missing else None


def _on_change(append: Append, change: Change, row: RowFacts | None) -> Outcome | None:
    if row is None or row.life != append.life:
        return Outcome.GONE
    if row.status in TERMINAL_STATUSES and not change.reopens:
        return Outcome.ENDED
    if change.status in TERMINAL_STATUSES and row.signals != change.seen:
        return Outcome.UNSEEN
    return None


def on_start(start: Start, facts: StartFacts) -> Outcome | None:
    """The outcome of a start. One that an append carries must not be refused, for whatever reason."""
    if facts.first == start.writer:
        return Outcome.ACCEPTED
    if facts.taken or facts.first is not None:
        return Outcome.EXISTS
    return Outcome.DEAD if start.owner is not None and not facts.alive else None


def on_delivery(status: str | None, *, known: bool) -> Delivered | None:
    """The outcome of a delivery, by the status of its instance (None: there is no such instance).

    It is known if its id is in the inbox, or its dedupe key is remembered.
    """
    if status is None:
        return Delivered.UNKNOWN
    if status in TERMINAL_STATUSES:
        return Delivered.CLOSED
    return Delivered.DUPLICATE if known else None


def on_posting(*, known: bool) -> Delivered | None:
    """The outcome of a posting. It is known if one of its places keeps its id, or its dedupe key is remembered."""
    return Delivered.DUPLICATE if known else None

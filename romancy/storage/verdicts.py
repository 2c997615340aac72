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
    from romancy.storage.records import Append, Change, Former, Step

__all__ = [
    "EffectFacts",
    "FirstFacts",
    "PlaceFacts",
    "RowFacts",
    "on_append",
    "on_delivery",
    "on_effects",
    "on_first",
    "on_place",
    "on_posting",
]


class PlaceFacts(Struct, frozen=True, kw_only=True, gc=False):
    """What an append found in the log, and of its worker."""

    writer: str | None
    """The writer of the row at its place. None: the place is free."""
    before: str | None
    """The writer of the row before. None: there is no such row."""
    alive: bool
    """Whether the worker that writes is alive."""


class RowFacts(Struct, frozen=True, kw_only=True, gc=False):
    """The row of the instance that an append changes or replaces."""

    life: int
    status: str
    signals: int = 0
    owned: bool = False


class FirstFacts(Struct, frozen=True, kw_only=True, gc=False):
    """What a first append found under the id of the instance that it creates."""

    held: RowFacts | None
    """The row of the instance that has the id. None: no instance has it."""
    first: str | None
    """The writer of the first row in the log of the append's own life. None: there is no such row."""
    alive: bool
    """Whether the owner is alive. Without an owner, nobody looks at it."""


class EffectFacts(Struct, frozen=True, kw_only=True, gc=False):
    """What the effects of an append found."""

    starts: tuple[FirstFacts, ...] = ()
    """One for each of `Append.starts`, in order."""
    row: RowFacts | None = None
    """None: no instance has the id. Without a change, nobody looks at it."""
    missing: bool = False
    """Whether one of `Append.consumed` is not in the inbox."""


def on_append(append: Append, place: PlaceFacts | FirstFacts, effects: EffectFacts) -> Outcome | None:
    """The outcome of an append: first by its place in the log, or its id, then by its effects."""
    if isinstance(place, FirstFacts):
        return on_first(append, place) or on_effects(append, effects)
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
        if on_first(start, found) not in (None, Outcome.ACCEPTED):
            return Outcome.EXISTS
    if append.change is not None and append.create is None:
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
    return Outcome.OWNED if change.unowned and row.owned else None


def on_first(append: Append, facts: FirstFacts) -> Outcome | None:
    """The fence of an append that creates its instance. The start of a child must not be refused, for any reason."""
    if facts.first is not None:
        return Outcome.ACCEPTED if facts.first == append.writer else Outcome.EXISTS
    create = append.create
    assert create is not None  # noqa: S101 - it is a first append
    if not _is_free(facts.held, create.replaces):
        return Outcome.EXISTS
    return Outcome.DEAD if create.owner is not None and not facts.alive else None


def _is_free(held: RowFacts | None, former: Former | None) -> bool:
    """Whether an id is free, or held by the ended life that is to be replaced."""
    if held is None or former is None:
        return held is None and former is None
    return held.life == former.life and held.status in TERMINAL_STATUSES.intersection(former.statuses)


def on_delivery(status: str | None, *, known: bool) -> Delivered | None:
    """The outcome of a delivery, by the status of its instance (None: there is no such instance).

    It is known if its id is in the inbox, or this life of the instance remembers its dedupe key.
    """
    if status is None:
        return Delivered.UNKNOWN
    if status in TERMINAL_STATUSES:
        return Delivered.CLOSED
    return Delivered.DUPLICATE if known else None


def on_posting(*, known: bool) -> Delivered | None:
    """The outcome of a posting. It is known if one of its places keeps its id, or its topic remembers its key."""
    return Delivered.DUPLICATE if known else None

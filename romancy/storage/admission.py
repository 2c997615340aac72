"""Decides who gets the next places under a limit: the same on every database. Pure.

A *lane* is one limit and one key. A *demand* asks for a place of a lane. The store reads the first demands, how many
places are taken and when the last ones were given, lets `admit` decide, and writes the decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from romancy.errors import InternalError
from romancy.storage.ranks import rank
from romancy.storage.routing import Interest, InterestKind, Owner, is_lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "BOOKS",
    "CHOSEN",
    "MOST_AT_ONCE",
    "REPLACE",
    "SKIP",
    "Admission",
    "Demand",
    "Terms",
    "admit",
    "ahead_of",
    "decode_begins",
    "decode_terms",
    "head_start",
    "replaced",
]

BOOKS: Final = "romancy/lanes"
"""The subscriber outside under whose name a store notes when the places of a lane were given."""
CHOSEN: Final = "romancy/limits"
"""The same, for what an operator has chosen for a limit."""
SKIP: Final = "skip"
"""Of a demand: it is refused if no place is free. It stands in no line."""
REPLACE: Final = "replace_queued"
"""Of a demand: the one before it in line is refused, if it is such a one too."""
MOST_AT_ONCE: Final = 500
"""How many places of a lane are given in one dispatch."""


class Terms(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a limit allows. 0: any number."""

    concurrency: int = 0
    rate: int = 0
    period: int = 0
    """Microseconds."""
    paused: bool = False
    """Whether no place is given at all."""
    priority: int = 0
    """That of who asks: the higher gets a place first."""
    full: str = ""
    """Of a demand: what becomes of it if no place is free. Empty: it waits."""


class Demand(NamedTuple):
    """A demand of an instance, with the terms that its code has declared."""

    owner: Owner
    interest_id: str
    terms: bytes | None
    at: int
    """Its rank in the line."""


class Admission(NamedTuple):
    """Who gets a place, and when the last places were given then.

    `free`: how many places there are, for more demands than these too. `again`: when a rate gives the next one, if it
    is in the way. `until`: when the last of the begins is a period old.
    """

    admitted: Sequence[Demand]
    begins: tuple[int, ...]
    again: int | None
    free: int
    until: int = 0


def ahead_of(terms: bytes | None) -> int:
    """How many microseconds earlier than it came a demand with these terms stands in the line (`ranks`)."""
    return -rank(0, decode_terms(terms).priority)


def head_start(interest: Interest) -> int:
    """How much earlier than it is registered an interest has its place at its address. Only demands have some."""
    return ahead_of(interest.where) if interest.kind is InterestKind.TAKE and is_lane(interest.address) else 0


_terms: Final = msgspec.json.Decoder(Terms)
_begins: Final = msgspec.json.Decoder(tuple[int, ...])


def decode_terms(raw: bytes | None) -> Terms:
    """Raises InternalError for terms that this version does not know."""
    try:
        return Terms() if raw is None else _terms.decode(raw)
    except msgspec.MsgspecError as error:
        raise InternalError(f"the terms of a limit cannot be read: {error}") from error


def decode_begins(raw: bytes | None) -> tuple[int, ...]:
    """When the last places were given, the oldest first."""
    try:
        return () if raw is None else _begins.decode(raw)
    except msgspec.MsgspecError as error:
        raise InternalError(f"the begins of a limit cannot be read: {error}") from error


def lowest(terms: Iterable[Terms]) -> Terms:
    """Of several declarations at once, the lower holds."""
    concurrency, rate, period = 0, 0, 0
    for one in terms:
        if one.concurrency and (not concurrency or one.concurrency < concurrency):
            concurrency = one.concurrency
        if one.rate and (not rate or one.rate * period < rate * one.period):
            rate, period = one.rate, one.period
    return Terms(concurrency, rate, period)


def admit(
    waiting: Sequence[Demand], taken: int, begins: tuple[int, ...], now: int, chosen: Terms | None = None
) -> Admission:
    """Decide in the order of the demands. `chosen`: an operator's terms, which hold in the place of the declared ones.

    In each period of that length there are at most `rate` begins. A time in the future (the clock of the database went
    back) counts as one in the period.
    """
    if not waiting or (chosen is not None and chosen.paused):
        return Admission((), begins, None, 0)
    terms = chosen if chosen is not None else lowest(decode_terms(one.terms) for one in waiting)
    free = MOST_AT_ONCE if not terms.concurrency else min(max(terms.concurrency - taken, 0), MOST_AT_ONCE)
    if not terms.rate:
        return Admission(waiting[:free], (), None, free)
    recent = tuple(at for at in begins if at > now - terms.period)
    left = max(terms.rate - len(recent), 0)
    admitted = waiting[: min(free, left)]
    again = None
    if left < min(free, len(waiting)):
        # The next place is free when so many of the last begins are a period old that fewer than `rate` are left.
        again = (*recent, *[now] * left)[-terms.rate] + terms.period
    last = (*recent, *[now] * len(admitted))
    return Admission(admitted, last, again, min(free, left), max(last, default=now) + terms.period)


def replaced(waiting: Iterable[Demand]) -> list[Demand]:
    """Of those that wait in this order: the ones in whose stead the newest of their kind waits."""
    kind = [one for one in waiting if decode_terms(one.terms).full == REPLACE]
    newest = max(reversed(kind), key=_asked_at, default=None)
    return [one for one in kind if one is not newest]


def _asked_at(demand: Demand) -> int:
    return demand.at + ahead_of(demand.terms)

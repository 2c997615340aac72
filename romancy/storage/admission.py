"""Decides who gets the next places under a limit: the same on every database. Pure.

A *lane* is one limit and one key. A *demand* asks for a place of a lane. The store reads the first demands, how many
places are taken and when the last ones were given, lets `admit` decide, and writes the decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from romancy.errors import InternalError
from romancy.storage.ranks import rank
from romancy.storage.routing import Interest, InterestKind, Owner, is_failed, is_lane, lane_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.records import Append

__all__ = [
    "BOOKS",
    "CANCEL",
    "CHOSEN",
    "FAILED_AHEAD",
    "MOST_AT_ONCE",
    "REPLACE",
    "SKIP",
    "Admission",
    "Demand",
    "Notes",
    "Terms",
    "admit",
    "ahead_of",
    "decode_notes",
    "decode_terms",
    "head_start",
    "losers",
    "outrun",
    "places_taken_by",
    "replaced",
    "told",
]

BOOKS: Final = "romancy/lanes"
"""The subscriber outside under whose name a store notes when the places of a lane were given."""
CHOSEN: Final = "romancy/limits"
"""The same, for what an operator has chosen for a limit."""
SKIP: Final = "skip"
"""Of a demand: it is refused if no place is free. It stands in no line."""
REPLACE: Final = "replace_queued"
"""Of a demand: the one before it in line is refused, if it is such a one too."""
CANCEL: Final = "cancel_running"
"""The same, and of those that have places, if they are such ones too, the first is told to stop."""
MOST_AT_ONCE: Final = 500
"""How many places of a lane are given in one dispatch."""
FAILED_AHEAD: Final = 1 << 52
"""How many microseconds before its failure a failed instance has its place: more than since the epoch."""


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
    units: int = 1
    """Of a demand and of a place: as how many it counts."""
    told: bool = False
    """Of a place: whether who has it was told to stop."""


class Demand(NamedTuple):
    """A demand of an instance, with the terms that its code has declared."""

    owner: Owner
    interest_id: str
    terms: bytes | None
    at: int
    """Its rank in the line."""
    address: str
    """Where it is registered: at its lane, or at a line of it."""


class Admission(NamedTuple):
    """The demands that get places, and when the last places were given then.

    `free`: how many places there are, for more demands than these too. `again`: when a rate gives the next one, if it
    is in the way. `until`: when the last of the begins is a period old. `lacking`: how many places had to be given back
    before the first one of those that wait gets one.
    """

    admitted: Sequence[Demand]
    begins: tuple[int, ...]
    again: int | None
    free: int
    until: int = 0
    lacking: int = 0


def ahead_of(terms: bytes | None) -> int:
    """How many microseconds earlier than it came a demand with these terms stands in the line (`ranks`)."""
    return -rank(0, decode_terms(terms).priority)


def head_start(interest: Interest) -> int:
    """How much earlier than it is registered an interest has its place at its address.

    Demands have some, and failures so much that a sweep, which looks at the newest interests first, does not see them.
    """
    if is_failed(interest.address):
        return FAILED_AHEAD
    return ahead_of(interest.where) if interest.kind is InterestKind.TAKE and is_lane(interest.address) else 0


def places_taken_by(append: Append) -> Sequence[Interest]:
    """The places that an append takes when it creates its instance, instead of asking for them."""
    if append.create is None or not append.interests:
        return ()
    return [one for one in append.interests if one.kind is InterestKind.MEMBER and lane_of(one.address) is not None]


class Notes(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a lane notes of itself: when the last places were given, and where the turns of its lines stand."""

    begins: tuple[int, ...] = ()
    """The oldest first."""
    turns: dict[int, tuple[str, int]] = {}
    """By priority, as in `turns.Turn`."""

    def encoded(self) -> bytes:
        """Without turns it is the begins alone."""
        return msgspec.json.encode(self if self.turns else self.begins)


_terms: Final = msgspec.json.Decoder(Terms)
_notes: Final = msgspec.json.Decoder(Notes | tuple[int, ...])


def decode_terms(raw: bytes | None) -> Terms:
    """Raises InternalError for terms that this version does not know."""
    try:
        return Terms() if raw is None else _terms.decode(raw)
    except msgspec.MsgspecError as error:
        raise InternalError(f"the terms of a limit cannot be read: {error}") from error


def decode_notes(raw: bytes | None) -> Notes:
    """Raises InternalError for notes that this version does not know."""
    try:
        found = Notes() if raw is None else _notes.decode(raw)
    except msgspec.MsgspecError as error:
        raise InternalError(f"the notes of a limit cannot be read: {error}") from error
    return found if isinstance(found, Notes) else Notes(found)


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

    Nobody overtakes one that waits for as many units as it needs. In each period of that length at most `rate` units
    begin. A time in the future (the clock of the database went back) counts as one in the period.
    """
    if not waiting or (chosen is not None and chosen.paused):
        return Admission((), begins, None, 0)
    wanted = [decode_terms(one.terms) for one in waiting]
    terms = chosen if chosen is not None else lowest(wanted)
    recent = [at for at in begins if at > now - terms.period] if terms.rate else []
    room = _Room(terms, taken, recent)
    free = min(room.free(), MOST_AT_ONCE)
    admitted: list[Demand] = []
    again, lacking = None, 0
    for demand, asked in zip(waiting, wanted, strict=True):
        if len(admitted) == free:
            lacking = room.lacking(asked.units)
            again = room.again(asked.units)
            break
        if room.lacking(asked.units) or room.early(asked.units):
            if asked.full == SKIP:
                continue  # it does not stay in the way
            lacking, again = room.lacking(asked.units), room.again(asked.units)
            break
        admitted.append(demand)
        room.take(asked.units, now)
    if not terms.rate:
        return Admission(admitted, (), None, free, lacking=lacking)
    last = tuple(room.begins)
    return Admission(admitted, last, again, free, max(last, default=now) + terms.period, lacking)


class _Room:
    """What a limit has left while places are given. A demand for more than there will ever be takes all of it."""

    def __init__(self, terms: Terms, taken: int, begins: list[int]) -> None:
        self.begins = begins
        self._terms = terms
        self._taken = taken

    def free(self) -> int:
        """How many places there are at most."""
        terms = self._terms
        at_once = max(terms.concurrency - self._taken, 0) if terms.concurrency else MOST_AT_ONCE
        return min(at_once, max(terms.rate - len(self.begins), 0)) if terms.rate else at_once

    def lacking(self, units: int) -> int:
        """How many places have to be given back before one that needs so many is let in."""
        allowed = self._terms.concurrency
        return max(self._taken + min(units, allowed) - allowed, 0) if allowed else 0

    def early(self, units: int) -> int:
        """How many of the begins have to be a period old before one that needs so many is let in."""
        allowed = self._terms.rate
        return max(len(self.begins) + min(units, allowed) - allowed, 0) if allowed else 0

    def again(self, units: int) -> int | None:
        """When the rate lets it in. None: the rate is not what it waits for."""
        early = self.early(units)
        if not early or self.lacking(units):
            return None
        return self.begins[early - 1] + self._terms.period

    def take(self, units: int, now: int) -> None:
        self._taken += min(units, self._terms.concurrency or units)
        if self._terms.rate:
            self.begins += [now] * min(units, self._terms.rate)


def outrun(line: Sequence[Demand], admitted: int) -> list[Demand]:
    """The demands of a line, of which so many get places, that make room for newer ones that have others cancelled.

    The others are to be admitted anew, until nobody is outrun.
    """
    kind = sorted((one for one in line if decode_terms(one.terms).full == CANCEL), key=_asked_at)
    waiting = sum(decode_terms(one.terms).full == CANCEL for one in line[admitted:])
    alike = all(decode_terms(one.terms).units == 1 for one in kind)
    return kind[: min(waiting if alike else min(waiting, 1), len(kind) - 1)]


def replaced(waiting: Iterable[Demand]) -> list[Demand]:
    """Of those that wait in this order: the ones in whose stead the newest of their kind waits."""
    kind = [one for one in waiting if decode_terms(one.terms).full in (REPLACE, CANCEL)]
    newest = max(reversed(kind), key=_asked_at, default=None)
    return [one for one in kind if one is not newest]


def losers(waiting: Sequence[Demand], holders: Sequence[Demand], lacking: int) -> list[Demand]:
    """The holders that are told to stop, so that the first in line gets a place: the first ones that say so too.

    Nobody, if the first in line does not have others cancelled, or if enough were told to stop already.
    """
    if not waiting or decode_terms(waiting[0].terms).full != CANCEL:
        return []
    may = [(one, decode_terms(one.terms)) for one in holders]
    stopped: list[Demand] = []
    lacking -= sum(terms.units for _, terms in may if terms.told)
    for one, terms in may:
        if lacking > 0 and terms.full == CANCEL and not terms.told:
            stopped.append(one)
            lacking -= terms.units
    return stopped


def told(terms: bytes | None) -> bytes:
    """The terms of a place of which the holder was told to stop."""
    return msgspec.json.encode(msgspec.structs.replace(decode_terms(terms), told=True))


def _asked_at(demand: Demand) -> int:
    return demand.at + ahead_of(demand.terms)

"""How much of what a limit allows was used, as seen from outside.

A place is used from the first beginning that was seen until the commit that gives it back. It is idle while somebody
stands in line who could have it. A place whose owner is dead, or stands still, does not count until another worker has
taken the instance over: neither one that it has, nor one that it would get next.

Moments are in microseconds, by the clock that the log and whoever sees beginnings have in common.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from romancy.core import TERMINAL, OwnerChanged, PlaceAsked, PlaceFreed, PlaceGranted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import LogEvent

__all__ = ["Demand", "Use", "demands_in", "use_of"]

Span: TypeAlias = tuple[int, int]


class Demand(NamedTuple):
    """One demand for a place."""

    since: int
    """From when it stood in line: for what a start asks first, since the start."""
    begun: int
    over: int
    away: Sequence[Span] = ()
    """When it had no living owner."""

    def is_away(self, at: int) -> bool:
        return any(since <= at < until for since, until in self.away)


class Use(NamedTuple):
    """Of some lanes: for how long places were used and idle, all places together."""

    used: int = 0
    idle: int = 0

    @property
    def share(self) -> float:
        return self.used / max(self.used + self.idle, 1)

    def __add__(self, other: object) -> Use:
        assert isinstance(other, Use)
        return Use(self.used + other.used, self.idle + other.idle)


def use_of(demands: Iterable[Demand], allowed: int) -> Use:
    """The use of one lane. Its line is in the order of `since`."""
    line, waiting, inside = sorted(demands), list[Demand](), list[Demand]()
    moments = sorted({at for one in line for at in (*one[:3], *(at for span in one.away for at in span))})
    used = idle = at_line = 0
    for at, until in pairwise(moments):
        while at_line < len(line) and line[at_line].since <= at:
            waiting.append(line[at_line])
            at_line += 1
        inside = [one for one in (*inside, *(one for one in waiting if one.begun <= at)) if one.over > at]
        waiting = [one for one in waiting if one.begun > at]
        next_ones = waiting[: max(allowed - len(inside), 0)]
        used += (until - at) * sum(not one.is_away(at) for one in inside)
        idle += (until - at) * sum(not one.is_away(at) for one in next_ones)
    return Use(used, idle)


def demands_in(rows: Sequence[tuple[int, Sequence[LogEvent]]], begins: Iterable[int]) -> list[Demand]:
    """The demands of an instance that has ended, from the rows of its log, and from the beginnings seen outside."""
    began = sorted(begins)
    asked: dict[str, int] = {}
    granted: dict[str, int] = {}
    freed: dict[str, int] = {}
    away = list[Span]()
    last = rows[0][0]
    for at, events in rows:
        for event in events:
            if isinstance(event, PlaceAsked):
                asked[event.id] = at if asked else rows[0][0]
            elif isinstance(event, PlaceGranted):
                granted[event.id] = at
            elif isinstance(event, PlaceFreed):
                freed[event.id] = at
            elif isinstance(event, TERMINAL):
                freed |= {one: at for one in granted if one not in freed}
            elif isinstance(event, OwnerChanged) and event.owner:
                away.append((max([last, *(one for one in began if one <= at)]), at))
        last = at
    return [
        Demand(asked[one], next((moment for moment in began if moment >= at), freed[one]), freed[one], away)
        for one, at in granted.items()
    ]

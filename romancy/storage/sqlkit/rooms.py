"""Places that an append takes when it creates its instance, without a dispatch.

They are given only where nobody waits, so that nobody is overtaken, and only by a limit that is nothing but a number of
places: what is decided by time, by units or by who makes way is left to a dispatch. Whoever asks has to exclude every
dispatch of these lanes until its transaction ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.errors import InternalError
from romancy.storage.admission import CHOSEN, Terms, decode_terms, places_taken_by
from romancy.storage.routing import lane_of, limit_of_lane, lines_of_lane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.records import Append

__all__ = ["Room", "asked_rooms", "question_about", "without_room"]


_COUNTED: Final = 10_000
"""Where more places than these are taken, a dispatch gives the next ones: they are counted for each transaction."""


class Room(NamedTuple):
    """What a lane says of itself (`lane_room`)."""

    taken: int
    heavy: int
    """How many places count as several."""
    waits: int
    """Whether somebody waits."""
    chosen: bytes | None
    """The terms that an operator has chosen."""


def asked_rooms(appends: Iterable[Append]) -> list[str]:
    """The addresses where these appends take places, in order."""
    return sorted({place.address for append in appends for place in places_taken_by(append)})


def question_about(address: str) -> dict[str, object]:
    """What `lane_room` asks of the lane of which this is the address of the places."""
    lane = lane_of(address) or ""
    low, below = lines_of_lane(lane)
    return {
        "held": address, "most": _COUNTED, "lane": lane, "low": low, "below": below, "limits": CHOSEN,
        "terms": limit_of_lane(lane),
    }  # fmt: skip


def without_room(appends: Iterable[Append], rooms: dict[str, Room]) -> list[Append]:
    """Those of these appends that get no place, if the others are written in this order."""
    free: dict[str, Room] = dict(rooms)
    refused: list[Append] = []
    for append in appends:
        places = places_taken_by(append)
        if all(_has_room(free[one.address], one.where) for one in places):
            for one in places:
                room = free[one.address]
                free[one.address] = room._replace(taken=room.taken + 1)
        else:
            refused.append(append)
    return refused


def _has_room(room: Room, declared: bytes | None) -> bool:
    if room.waits or room.heavy or room.taken >= _COUNTED:
        return False
    try:
        terms = decode_terms(declared if room.chosen is None else room.chosen)
    except InternalError:
        return False  # a dispatch says why
    return _only_counts(terms) and (not terms.concurrency or room.taken < terms.concurrency)


def _only_counts(terms: Terms) -> bool:
    return not (terms.paused or terms.rate) and terms.units == 1

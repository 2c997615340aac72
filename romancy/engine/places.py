"""Places under limits: the demands and places of an instance as interests, and the marks that have lanes dispatched."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from romancy.engine.messages import PlaceFull, PlaceGiven, encode_message
from romancy.storage.admission import SKIP, Terms, decode_terms
from romancy.storage.routing import (
    Interest,
    InterestKind,
    Place,
    Posting,
    Spread,
    address_held_at,
    address_of_lane,
    is_lane,
    lane_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core import PlaceAsked

__all__ = ["NO_LANES", "Lanes", "demand_of", "lane_changed", "marks", "may_be_refused_there", "place_of"]

Lanes: TypeAlias = "Mapping[str, bool]"
"""Lanes at which something changes, and whether somebody asks there who may be refused."""
NO_LANES: Final[Lanes] = MappingProxyType({})

_MARK: Final = encode_message(PlaceGiven())
_FULL: Final = encode_message(PlaceFull())


def demand_of(asked: PlaceAsked) -> Interest:
    """The interest that a demand for a place is: of another kind, if it does not wait in line."""
    terms = Terms(
        concurrency=asked.concurrency,
        rate=asked.rate,
        period=asked.period,
        full=asked.full,
        priority=asked.priority,
    )
    address = address_of_lane(asked.limit, asked.key)
    kind = InterestKind.COPY if asked.full == SKIP else InterestKind.TAKE
    return Interest(interest_id=asked.id, address=address, kind=kind, where=msgspec.json.encode(terms))


def place_of(demand: Interest) -> Interest:
    """The interest that stands for the place once the demand is met. A dispatch registers it."""
    return replace(demand, address=address_held_at(demand.address), kind=InterestKind.MEMBER)


def lane_changed(interest: Interest) -> str | None:
    """The lane at which something changes when this interest comes or goes. None: it has to do with no lane."""
    return interest.address if is_lane(interest.address) else lane_of(interest.address)


def may_be_refused_there(interest: Interest) -> bool:
    """Whether this is a demand that a dispatch may refuse, or of which it may refuse an earlier one."""
    return is_lane(interest.address) and bool(decode_terms(interest.where).full)


def marks(lanes: Lanes, stamp: Callable[[], str]) -> tuple[Posting, ...]:
    """The messages that say that something has changed at these lanes. `stamp` makes their ids.

    They are for everyone: a sweep looks at each, whether somebody waits there or not. With a demand that may be refused
    comes the message that says so.
    """
    changed = [Posting(message_id=stamp(), places=(Place(one, Spread.EVERY),), body=_MARK) for one in lanes]
    full = [
        Posting(message_id=stamp(), places=(Place(one, Spread.ONE),), body=_FULL) for one, new in lanes.items() if new
    ]
    return (*changed, *full)

"""Places under limits: the demands and places of an instance as interests, and the marks that have lanes dispatched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from romancy.engine.messages import PlaceGiven, encode_message
from romancy.storage.admission import Terms
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
    from collections.abc import Callable, Iterable

    from romancy.core import PlaceAsked

__all__ = ["demand_of", "lane_changed", "marks", "place_of"]

_MARK: Final = encode_message(PlaceGiven())


def demand_of(asked: PlaceAsked) -> Interest:
    """The interest that a demand for a place is."""
    terms = Terms(concurrency=asked.concurrency, rate=asked.rate, period=asked.period, priority=asked.priority)
    address = address_of_lane(asked.limit, asked.key)
    return Interest(interest_id=asked.id, address=address, kind=InterestKind.TAKE, where=msgspec.json.encode(terms))


def place_of(demand: Interest) -> Interest:
    """The interest that stands for the place once the demand is met. A dispatch registers it."""
    return replace(demand, address=address_held_at(demand.address), kind=InterestKind.MEMBER)


def lane_changed(interest: Interest) -> str | None:
    """The lane at which something changes when this interest comes or goes. None: it has to do with no lane."""
    return interest.address if is_lane(interest.address) else lane_of(interest.address)


def marks(lanes: Iterable[str], stamp: Callable[[], str]) -> tuple[Posting, ...]:
    """The messages that say that something has changed at these lanes. `stamp` makes their ids.

    They are for everyone: a sweep looks at each, whether somebody waits there or not.
    """
    return tuple(
        Posting(message_id=stamp(), places=(Place(lane, Spread.EVERY),), body=_MARK) for lane in dict.fromkeys(lanes)
    )

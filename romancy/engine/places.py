"""Places under limits: the demands and places of an instance as interests, and the marks that have lanes dispatched."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

import msgspec
from msgspec.structs import replace

from romancy.engine.messages import PlaceFull, PlaceGiven, PlaceLost, encode_message
from romancy.storage.admission import CANCEL, SKIP, Terms, decode_terms
from romancy.storage.routing import (
    Interest,
    InterestKind,
    Place,
    Posting,
    Spread,
    address_held_at,
    address_of_lane,
    is_lane,
    key_of_lane,
    lane_of,
    limit_of_lane,
    line_in_lane,
    whole_lane,
)
from romancy.storage.turns import line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core import PlaceAsked

__all__ = ["NO_LANES", "Asks", "Lanes", "asks_there", "demand_of", "lane_changed", "marks", "place_of"]


class Asks(IntEnum):
    """What new demands at a lane may bring about, beside places. Each includes those before it."""

    NOTHING = 0
    REFUSALS = 1
    """That they, or earlier ones, are refused."""
    CANCELS = 2
    """That who has a place is cancelled."""


Lanes: TypeAlias = "Mapping[str, Asks]"
"""Lanes at which something changes, and what is asked there."""
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
        units=asked.units,
    )
    address = address_of_lane(asked.limit, asked.key)
    if asked.fair_key and not asked.full:  # of those that are refused for another at most one waits
        line = line_of(asked.fair_key, asked.weight, crc32(asked.id.encode()))
        address = line_in_lane(address, asked.priority, line)
    kind = InterestKind.COPY if asked.full == SKIP else InterestKind.TAKE
    return Interest(interest_id=asked.id, address=address, kind=kind, where=msgspec.json.encode(terms))


def place_of(demand: Interest) -> Interest:
    """The interest that stands for the place once the demand is met. A dispatch registers it."""
    return replace(demand, address=address_held_at(demand.address), kind=InterestKind.MEMBER)


def lane_changed(interest: Interest) -> str | None:
    """The lane at which something changes when this interest comes or goes. None: it has to do with no lane."""
    return whole_lane(interest.address) if is_lane(interest.address) else lane_of(interest.address)


def asks_there(interest: Interest) -> Asks:
    """What this interest, which is new at its lane, may bring about there."""
    full = decode_terms(interest.where).full if is_lane(interest.address) else ""
    return Asks.CANCELS if full == CANCEL else Asks.REFUSALS if full else Asks.NOTHING


def marks(lanes: Lanes, stamp: Callable[[], str]) -> tuple[Posting, ...]:
    """The messages that say that something has changed at these lanes. `stamp` makes their ids.

    They are for everyone: a sweep looks at each, whether somebody waits there or not. With a demand that may be refused
    comes the message that says so, and with one that has others cancelled the message for them.
    """
    posts = [(one, Spread.EVERY, _MARK) for one in lanes]
    posts += [(one, Spread.ONE, _FULL) for one, asks in lanes.items() if asks >= Asks.REFUSALS]
    posts += [(one, Spread.CHANNEL, _lost(one)) for one, asks in lanes.items() if asks >= Asks.CANCELS]
    return tuple(Posting(message_id=stamp(), places=(Place(one, spread),), body=body) for one, spread, body in posts)


def _lost(lane: str) -> bytes:
    return encode_message(PlaceLost(limit_of_lane(lane), key_of_lane(lane)))

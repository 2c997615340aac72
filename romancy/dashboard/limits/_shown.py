"""Limits and lanes as pages show them, read from the store. Keys are stored in the clear."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.dashboard._refused import not_found
from romancy.errors import RegistrationError
from romancy.limit import Limit
from romancy.managing.lanes import lane_at, lanes_of, routed
from romancy.storage.routing import address_held_at, is_lane, limit_of_lane

if TYPE_CHECKING:
    from romancy.managing.lanes import Lane
    from romancy.storage.lookups import Standing
    from romancy.storage.protocol import Store

__all__ = ["EACH", "ShownLane", "ShownLimit", "checked_name", "shown_lane", "shown_limit", "version_of"]

EACH: Final = 100
"""How many lanes a list has, and how many instances the page of a lane."""


class ShownLimit(NamedTuple):
    """A limit as its page shows it."""

    name: str
    lanes: dict[str, Lane]
    """By address."""

    @property
    def one(self) -> Lane | None:
        """A lane that says what holds. None: nobody is there, and no operator has chosen anything."""
        return next(iter(self.lanes.values()), None)

    @property
    def is_paused(self) -> bool:
        return self.one is not None and self.one.paused

    @property
    def is_chosen(self) -> bool:
        """Whether what the code declares does not hold."""
        return self.one is not None and (self.one.chosen or self.one.paused)


class ShownLane(NamedTuple):
    """A lane as its page shows it."""

    address: str
    lane: Lane
    inside: list[Standing]
    line: list[Standing]


async def shown_limit(store: Store, name: str) -> ShownLimit:
    """One limit, with its most crowded lanes."""
    return ShownLimit(checked_name(name), await lanes_of(routed(store), name, EACH))


async def shown_lane(store: Store, address: str) -> ShownLane:
    """One lane, with the first of those who have places there or wait for one."""
    try:
        known = is_lane(address) and checked_name(limit_of_lane(address))
    except ValueError:
        known = False
    if not known:
        raise not_found("There is no such lane.")
    lookups = routed(store).services.lookups
    inside, line = await lookups.front(address_held_at(address), EACH), await lookups.front(address, EACH)
    return ShownLane(address, await lane_at(store, address), inside, line)


def checked_name(name: str) -> str:
    """The name of a limit. Raises RefusedError for what can be none."""
    try:
        return Limit(name, concurrency=1).name
    except RegistrationError as error:
        raise not_found(str(error)) from None


def version_of(*shown: object) -> str:
    """A text that changes with what a page shows."""
    return hashlib.sha256(repr(shown).encode("utf-8", "surrogatepass")).hexdigest()[:16]

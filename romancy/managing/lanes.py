"""Lanes as programs and pages show them: who is inside, who waits in which order, and what holds there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from romancy._microseconds import moment_of
from romancy.errors import UsageError
from romancy.storage.admission import CHOSEN, Terms, decode_terms
from romancy.storage.routing import (
    OUTSIDE,
    Owner,
    address_held_at,
    address_of_lane,
    key_of_lane,
    lane_of,
    lanes_of_limit,
    limit_of_lane,
    lines_of_lane,
)
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.protocol import Store

__all__ = ["CHOICES", "MOST", "Lane", "choices_of", "lane_at", "lanes_of", "routed"]

CHOICES: Final = "t/limits"
"""The address of what operators have chosen. Nothing is posted there."""
MOST: Final = 1000
_NAMED: Final = 10
"""How many holders of a lane are named."""
_NOBODY: Final = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One limit and one key, with those that have places there or wait for one."""

    limit: str
    key: str
    """Empty for a limit without a key. A long key is told by its hash."""
    taken: int
    """How many places are taken."""
    waiting: int
    """How many instances, calls and sections wait."""
    oldest: datetime | None
    """Since when the first one waits. None: nobody waits."""
    holders: tuple[str, ...]
    """Instances that have places: the first ten."""
    concurrency: int | None
    """How many places there are. None: any number."""
    rate: tuple[int, float] | None
    """How many are given in how many seconds. None: any number."""
    chosen: bool
    """Whether an operator has chosen these, in the place of what the code declares."""
    paused: bool


def routed(store: Store) -> Store:
    """The store, if it has what limits need. Raises UsageError."""
    if not {Service.ROUTER, Service.LOOKUPS} <= store.services.offered:
        raise UsageError("the adapter of this database has no router and lookups, so it has no limits")
    return store


async def choices_of(store: Store) -> dict[str, Terms]:
    """What operators have chosen, by limit."""
    return {
        one.interest_id: decode_terms(one.where)
        for owner, one in await store.services.router.interests(CHOICES)
        if owner == Owner(CHOSEN, OUTSIDE)
    }


async def lanes_of(store: Store, limit: str | None = None, most: int = MOST) -> dict[str, Lane]:
    """The lanes of a limit, or of all, by address, the most crowded first.

    A limit for which an operator has chosen something is there even if nobody is: then with an empty key.
    """
    choices = await choices_of(store)
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for low, high in lanes_of_limit(limit):
        for address, count, oldest in await store.services.lookups.lanes(low, high, most):
            found.setdefault(lane_of(address) or address, {})[address[0]] = (count, oldest)
    crowded = sorted(found, key=lambda one: (-max(count for count, _ in found[one].values()), one))[:most]
    lanes = {one: await _lane(store, one, found[one], choices) for one in crowded}
    seen = {limit_of_lane(one) for one in found}
    for name in sorted(choices):
        if name not in seen and limit in (None, name):
            address = address_of_lane(name, "")
            lanes[address] = await _lane(store, address, {}, choices)
    return lanes


async def lane_at(store: Store, address: str) -> Lane:
    """One lane."""
    counts: dict[str, tuple[int, int]] = {}
    held, lines = address_held_at(address), lines_of_lane(address)
    for low, high in ((address, address), lines, (held, held)):
        for one, count, oldest in await store.services.lookups.lanes(low, high, MOST):
            if one in (address, held):
                before, first = counts.get(one[0], (0, oldest))
                counts[one[0]] = (before + count, min(first, oldest))
    return await _lane(store, address, counts, await choices_of(store))


async def _lane(
    store: Store, address: str, counts: Mapping[str, tuple[int, int]], choices: Mapping[str, Terms]
) -> Lane:
    taken, _ = counts.get("p", _NOBODY)
    waiting, _ = counts.get("l", _NOBODY)
    holders = await store.services.lookups.front(address_held_at(address), _NAMED) if taken else []
    first = await store.services.lookups.front(address, 1) if waiting else []
    limit = limit_of_lane(address)
    chosen = choices.get(limit)
    known = holders or first
    declared = decode_terms(known[0].terms if known else None)
    terms = declared if chosen is None or chosen == Terms(paused=True) else chosen
    if any(decode_terms(one.terms).units > 1 for one in holders):
        every = await store.services.lookups.front(address_held_at(address), MOST)
        taken = sum(decode_terms(one.terms).units for one in every)
    return Lane(
        limit=limit,
        key=key_of_lane(address),
        taken=taken,
        waiting=waiting,
        oldest=moment_of(first[0].at) if first else None,
        holders=tuple(one.owner.name for one in holders),
        concurrency=terms.concurrency or None,
        rate=(terms.rate, terms.period / 1_000_000) if terms.rate else None,
        chosen=chosen is not None and chosen != Terms(paused=True),
        paused=chosen is not None and chosen.paused,
    )

"""The places of an instance: those that it has, those that it waits for, and who is in the way, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.admission import decode_terms
from romancy.storage.routing import InterestKind, address_held_at, key_of_lane, lane_of, limit_of_lane, whole_lane
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy.storage.routing import Interest, Owner

__all__ = ["Place", "lines_of", "places_of"]

_NAMED: Final = 3
"""How many of those that have places are named."""
_MOST: Final = 20
"""How many are looked at of those who may wait for each other."""


class Place(NamedTuple):
    """A place that an instance has, or waits for."""

    owner: Owner
    interest: Interest

    @property
    def has(self) -> bool:
        return self.interest.kind is InterestKind.MEMBER

    @property
    def lane(self) -> str:
        """The address of its lane."""
        return lane_of(self.interest.address) or whole_lane(self.interest.address)

    @property
    def limit(self) -> str:
        return limit_of_lane(self.interest.address)

    @property
    def key(self) -> str:
        return key_of_lane(self.interest.address)


async def places_of(store: Store, row: InstanceRow) -> list[Place]:
    """The places that this life of an instance has or waits for."""
    if row.status in TERMINAL_STATUSES or not {Service.ROUTER, Service.LOOKUPS} <= store.services.offered:
        return []
    found = [Place(*one) for one in await store.services.lookups.places_of([row.instance_id])]
    return sorted((one for one in found if one.owner.life == row.life), key=lambda one: one.interest.interest_id)


async def lines_of(store: Store, places: Iterable[Place]) -> dict[str, str]:
    """For each place that is waited for, by its id: how many wait before it, and who has places."""
    return {one.interest.interest_id: await _line(store, *one) for one in places if not one.has}


async def _line(store: Store, owner: Owner, demand: Interest) -> str:
    before = await store.services.lookups.line(owner, demand.interest_id)
    holders = await store.services.router.interests(address_held_at(demand.address))
    named = [await _holder(store, one) for one, _ in holders[:_NAMED]]
    more = f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    has = f"held by {', '.join(named)}{more}" if holders else "no place is taken"
    if circle := await _circle(store, demand):
        has += f"; a circle: all of {', '.join(circle)} have places and wait for places that the others have"
    whose = "" if whole_lane(demand.address) == demand.address else " of its key"
    return f"{before}{whose} before it in line, {has}"


async def _circle(store: Store, demand: Interest) -> list[str]:
    """Those in the way of a demand, and of these, if each of them waits for a place too. Nobody if one goes on."""
    names, lanes = dict[str, None](), {whole_lane(demand.address): decode_terms(demand.where)}
    left = list(lanes)
    while left:
        lane = left.pop()
        inside = await store.services.router.interests(address_held_at(lane))
        taken = sum(decode_terms(one.where).units for _, one in inside)
        new = sorted({owner.name for owner, _ in inside} - names.keys())
        names |= dict.fromkeys(new)
        if taken + lanes[lane].units <= lanes[lane].concurrency or not lanes[lane].concurrency or len(names) > _MOST:
            return []
        places = await store.services.lookups.places_of(new)
        waiting = {owner.name: one for owner, one in places if one.kind is InterestKind.TAKE}
        if waiting.keys() != set(new):
            return []
        more = {whole_lane(one.address): decode_terms(one.where) for one in waiting.values()}
        left += [one for one in more if one not in lanes]
        lanes = more | lanes
    return sorted(names)


async def _holder(store: Store, owner: Owner) -> str:
    found = await store.read(owner.name, limit=0)
    stuck = found is not None and found.instance.status is Status.STUCK
    return f"{owner.name} (stuck; `romancy limits --free {owner.name}` gives its place back)" if stuck else owner.name

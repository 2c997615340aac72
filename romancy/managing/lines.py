"""What is in the way of an instance that waits for a place under a limit, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.status import Status
from romancy.storage.rooms import Room
from romancy.storage.routing import InterestKind, address_held_at

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy.storage.routing import Interest, Owner

__all__ = ["lines_of"]

_NAMED: Final = 3
"""How many of those that have places are named."""


async def lines_of(store: Store, row: InstanceRow) -> dict[str, str]:
    """For each place that the instance waits for, by its id: how many wait before it, and who has places."""
    if not {Room.ROUTER, Room.LOOKUPS} <= store.rooms.offered:
        return {}
    wanted = await store.rooms.lookups.places_of([row.instance_id])
    return {
        one.interest_id: await _line(store, owner, one)
        for owner, one in wanted
        if one.kind is InterestKind.TAKE and owner.life == row.life
    }


async def _line(store: Store, owner: Owner, demand: Interest) -> str:
    before = await store.rooms.lookups.line(owner, demand.interest_id)
    holders = await store.rooms.router.interests(address_held_at(demand.address))
    named = [await _holder(store, one) for one, _ in holders[:_NAMED]]
    more = f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    has = f"held by {', '.join(named)}{more}" if holders else "no place is taken"
    return f"{before} before it in line, {has}"


async def _holder(store: Store, owner: Owner) -> str:
    found = await store.read(owner.name, limit=0)
    stuck = found is not None and found.instance.status is Status.STUCK
    return f"{owner.name} (stuck; `romancy limits --free {owner.name}` gives its place back)" if stuck else owner.name

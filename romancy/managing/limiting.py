"""Limits from outside: who stands in line, what an operator has chosen, and places that are given back by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from romancy._microseconds import moment_of
from romancy.engine.places import lane_changed, marks
from romancy.errors import InstanceNotFoundError, UsageError
from romancy.limit import Limit
from romancy.managing.acting import Acting
from romancy.storage.admission import CHOSEN, Terms, ahead_of, decode_terms
from romancy.storage.rooms import Room
from romancy.storage.routing import (
    OUTSIDE,
    Interest,
    InterestKind,
    Owner,
    address_held_at,
    is_lane,
    key_of_lane,
    limit_of_lane,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.retry import Duration
    from romancy.storage.protocol import Store

__all__ = ["Lane", "Limiting"]

_CHOICES: Final = "t/limits"
"""The address of what operators have chosen. Nothing is posted there."""
_MOST: Final = 1000
_ALL: Final = 2**31 - 1
_NAMED: Final = 10
"""How many holders of a lane are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One limit and one key, with those that have places there or wait for one."""

    limit: str
    key: str
    """Empty for a limit without a key. A long key is told by its hash."""
    taken: int
    waiting: int
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


class Limiting(Acting):
    """Reads and changes limits."""

    async def limits(self, name: str | None = None) -> list[Lane]:
        """What is taken and who waits under each limit and key, the most crowded first; of up to 1,000 of them."""
        store = _routed(self._access.opened("limits"))
        choices = await _choices(store)
        found: dict[str, dict[str, tuple[int, int]]] = {}
        for address, count, oldest in await store.rooms.lookups.lanes(_MOST):
            lane = address if is_lane(address) else f"l{address[1:]}"
            if name is None or limit_of_lane(lane) == name:
                found.setdefault(lane, {})[address[0]] = (count, oldest)
        return [await _lane(store, address, counts, choices) for address, counts in found.items()]

    async def change_limit(
        self, name: str, *, concurrency: int | None = None, rate: tuple[int, Duration] | None = None
    ) -> None:
        """Let this hold for every key of the limit, in the place of what the code declares, until it is reset.

        Who is inside already stays inside. Deploys do not change it. A paused limit stays paused.
        """
        place = Limit(name, concurrency=concurrency, rate=rate).place("")
        before = (await _choices(_routed(self._access.opened("change_limit")))).get(name, Terms())
        await self._choose(name, Terms(place.concurrency, place.rate, place.period, before.paused))

    async def pause_limit(self, name: str) -> None:
        """Give no more places of this limit, until it is resumed. Who is inside goes on."""
        store = _routed(self._access.opened("pause_limit"))
        chosen = (await _choices(store)).get(name, Terms())
        await self._choose(name, msgspec.structs.replace(chosen, paused=True))

    async def resume_limit(self, name: str) -> None:
        """Give places of this limit again."""
        store = _routed(self._access.opened("resume_limit"))
        chosen = msgspec.structs.replace((await _choices(store)).get(name, Terms()), paused=False)
        await (self.reset_limit(name) if chosen == Terms() else self._choose(name, chosen))

    async def reset_limit(self, name: str) -> None:
        """Let what the code declares hold again."""
        store = _routed(self._access.to_write("reset_limit"))
        await store.rooms.router.unregister(Owner(CHOSEN, OUTSIDE), [name])
        await self._look_again(store, name)

    async def free_places(self, instance_id: str) -> list[str]:
        """Give back the places of an instance that is stuck or never ends, and return the limits.

        The instance does not hear of it, and goes on as if it had them. Raises InstanceNotFoundError.
        """
        store = _routed(self._access.to_write("free_places", instance_id))
        if await store.read(instance_id, limit=0) is None:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        has = [
            (owner, one)
            for owner, one in await store.rooms.lookups.places_of([instance_id])
            if one.kind is InterestKind.MEMBER
        ]
        for owner, one in has:
            await store.rooms.router.unregister(owner, [one.interest_id])
        lanes = [lane for _, one in has if (lane := lane_changed(one)) is not None]
        await self._mark(store, lanes)
        return sorted({limit_of_lane(one) for one in lanes})

    async def _choose(self, name: str, terms: Terms) -> None:
        store = _routed(self._access.to_write("change_limit"))
        choice = Interest(
            interest_id=name, address=_CHOICES, kind=InterestKind.MEMBER, where=msgspec.json.encode(terms)
        )
        await store.rooms.router.register(Owner(CHOSEN, OUTSIDE), choice)
        await self._look_again(store, name)

    async def _look_again(self, store: Store, name: str) -> None:
        """Have all lanes of the limit dispatched at which somebody waits."""
        lanes = [address for address, _, _ in await store.rooms.lookups.lanes(_ALL) if is_lane(address)]
        await self._mark(store, [one for one in lanes if limit_of_lane(one) == name])

    async def _mark(self, store: Store, lanes: Iterable[str]) -> None:
        posts = marks(lanes, self._access.stamp)
        if posts:
            await store.rooms.router.post(posts)
            self._access.dispatch([place.address for one in posts for place in one.places])


def _routed(store: Store) -> Store:
    if not {Room.ROUTER, Room.LOOKUPS} <= store.rooms.offered:
        raise UsageError("the adapter of this database has no router and lookups, so it has no limits")
    return store


async def _choices(store: Store) -> dict[str, Terms]:
    """What operators have chosen, by limit."""
    return {
        one.interest_id: decode_terms(one.where)
        for owner, one in await store.rooms.router.interests(_CHOICES)
        if owner == Owner(CHOSEN, OUTSIDE)
    }


async def _lane(store: Store, address: str, counts: dict[str, tuple[int, int]], choices: dict[str, Terms]) -> Lane:
    taken, _ = counts.get("p", (0, 0))
    waiting, oldest = counts.get("l", (0, 0))
    holders = await store.rooms.router.interests(address_held_at(address)) if taken else []
    limit = limit_of_lane(address)
    chosen = choices.get(limit)
    declared = holders[0][1].where if holders else None
    first = await store.rooms.lookups.first_terms(address) if waiting else None
    declared = first if declared is None else declared
    terms = decode_terms(declared) if chosen is None or chosen == Terms(paused=True) else chosen
    return Lane(
        limit=limit,
        key=key_of_lane(address),
        taken=taken,
        waiting=waiting,
        oldest=moment_of(oldest + ahead_of(first)) if waiting else None,
        holders=tuple(owner.name for owner, _ in holders[:_NAMED]),
        concurrency=terms.concurrency or None,
        rate=(terms.rate, terms.period / 1_000_000) if terms.rate else None,
        chosen=chosen is not None and chosen != Terms(paused=True),
        paused=chosen is not None and chosen.paused,
    )

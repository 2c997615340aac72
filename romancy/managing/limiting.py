"""Limits from outside: who stands in line, what an operator has chosen, and places that are given back by hand."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from romancy.core import PlaceAsked, PlaceFreed, PlaceGranted, WorkflowContinued, WorkflowForked, WorkflowStarted
from romancy.engine.places import Asks, lane_changed, marks
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError, InstanceNotFoundError
from romancy.limit import Limit
from romancy.log import read_log
from romancy.managing.lanes import CHOICES, choices_of, lanes_of, routed
from romancy.managing.retained import RetainedByDefault
from romancy.status import TERMINAL_STATUSES
from romancy.storage.admission import CHOSEN, Terms
from romancy.storage.routing import (
    OUTSIDE,
    Interest,
    InterestKind,
    Owner,
    address_of_lane,
    is_lane,
    lanes_of_limit,
    limit_of_lane,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.managing.lanes import Lane
    from romancy.retry import Duration
    from romancy.storage.protocol import Store

__all__ = ["Limiting"]

_ALL: Final = 2**31 - 1


class Limiting(RetainedByDefault):
    """Reads and changes limits."""

    async def limits(self, name: str | None = None) -> list[Lane]:
        """What is taken and who waits under each limit and key, the most crowded first; of up to 1,000 of them.

        A limit for which an operator has chosen something is listed even if nobody is there.
        """
        if name is not None:
            _check_name(name)
        return list((await lanes_of(routed(self._access.opened("limits")), name)).values())

    async def change_limit(
        self, name: str, *, concurrency: int | None = None, rate: tuple[int, Duration] | None = None
    ) -> None:
        """Let this hold for every key of the limit, in the place of what the code declares, until it is reset.

        Who is inside already stays inside. Deploys do not change it. A paused limit stays paused.
        """
        place = Limit(name, concurrency=concurrency, rate=rate).place("")
        before = (await choices_of(routed(self._access.opened("change_limit")))).get(name, Terms())
        await self._choose(name, Terms(place.concurrency, place.rate, place.period, before.paused))

    async def pause_limit(self, name: str) -> None:
        """Give no more places of this limit, until it is resumed. Who is inside goes on."""
        _check_name(name)
        store = routed(self._access.opened("pause_limit"))
        chosen = (await choices_of(store)).get(name, Terms())
        await self._choose(name, msgspec.structs.replace(chosen, paused=True))

    async def resume_limit(self, name: str) -> None:
        """Give places of this limit again."""
        _check_name(name)
        store = routed(self._access.opened("resume_limit"))
        chosen = msgspec.structs.replace((await choices_of(store)).get(name, Terms()), paused=False)
        await (self.reset_limit(name) if chosen == Terms() else self._choose(name, chosen))

    async def reset_limit(self, name: str) -> None:
        """Let what the code declares hold again."""
        _check_name(name)
        store = routed(self._access.to_write("reset_limit"))
        await store.services.router.unregister(Owner(CHOSEN, OUTSIDE), [name])
        await self._look_again(store, name)

    async def free_places(self, instance_id: str) -> list[str]:
        """Give back the places of an instance that is stuck or never ends, and return the limits.

        The instance does not hear of it, and goes on as if it had them. If the call is interrupted, call it again: it
        also has the lanes looked at whose places were given back by then. Raises InstanceNotFoundError.
        """
        store = routed(self._access.to_write("free_places", instance_id))
        found = await store.read(instance_id, limit=0)
        if found is None:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        has = [
            (owner, one)
            for owner, one in await store.services.lookups.places_of([instance_id])
            if one.kind is InterestKind.MEMBER
        ]
        for owner, one in has:
            await store.services.router.unregister(owner, [one.interest_id])
        lanes = [lane for _, one in has if (lane := lane_changed(one)) is not None]
        await self._mark(store, lanes)
        if found.instance.status not in TERMINAL_STATUSES:
            # Of a log that cannot be read here, only what is left of its places is known.
            with suppress(CodecError, HistoryCorruptError, HistoryVersionError):
                await self._mark(store, set(await _lanes_in_its_log(store, instance_id)).difference(lanes))
        return sorted({limit_of_lane(one) for one in lanes})

    async def _choose(self, name: str, terms: Terms) -> None:
        store = routed(self._access.to_write("change_limit"))
        choice = Interest(interest_id=name, address=CHOICES, kind=InterestKind.MEMBER, where=msgspec.json.encode(terms))
        await store.services.router.register(Owner(CHOSEN, OUTSIDE), choice)
        await self._look_again(store, name)

    async def _look_again(self, store: Store, name: str) -> None:
        """Have all lanes of the limit dispatched at which somebody waits."""
        found: list[str] = []
        for low, high in lanes_of_limit(name):
            if is_lane(low):
                found += [address for address, _, _ in await store.services.lookups.lanes(low, high, _ALL)]
        await self._mark(store, found)

    async def _mark(self, store: Store, lanes: Iterable[str]) -> None:
        posts = marks(dict.fromkeys(lanes, Asks.NOTHING), self._access.stamp)
        if posts:
            await store.services.router.post(posts)
            self._access.dispatch([place.address for one in posts for place in one.places])


async def _lanes_in_its_log(store: Store, instance_id: str) -> list[str]:
    """The lanes of the places that the instance has by its log: it does not hear of those that are given back."""
    asked: dict[str, PlaceAsked] = {}
    has: set[str] = set()
    async for entry in read_log(store, instance_id):
        match entry.event:
            case PlaceAsked() as event:
                asked[event.id] = event
            case PlaceGranted(id=id):
                has.add(id)
            case PlaceFreed(id=id):
                has.discard(id)
            case WorkflowContinued() | WorkflowStarted() | WorkflowForked():
                has.clear()
            case _:
                pass
    return [address_of_lane(asked[id].limit, asked[id].key) for id in sorted(has & asked.keys())]


def _check_name(name: str) -> None:
    """Raise RegistrationError for what no limit can be called."""
    Limit(name, concurrency=1)

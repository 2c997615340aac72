"""An append that creates an instance may take places: it gets all of them, or is FULL and writes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import structs

from romancy.core import PlaceAsked
from romancy.engine.places import Asks, demand_of, marks, place_of
from romancy.status import Status
from romancy.storage.admission import CHOSEN, Terms
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner, address_held_at, address_of_lane
from romancy_conformance.contract.building import Actor, append, change, nonce, start, unique

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append

pytestmark = pytest.mark.anyio


class Lane:
    """One lane of a limit of its own."""

    def __init__(self, store: Store, concurrency: int = 1) -> None:
        if not store.capabilities.gives_places:
            pytest.skip("capability: only a dispatch of this store gives places")
        self.store = store
        self.limit = unique("limit")
        self.concurrency = concurrency
        self.address = address_of_lane(self.limit, "")

    def demand(self, **terms: Any) -> Interest:
        asked = PlaceAsked(id=unique("place"), limit=self.limit, concurrency=self.concurrency)
        return demand_of(structs.replace(asked, **terms))

    def taking(self, **fields: Any) -> Append:
        return start(status=Status.WAITING, interests=(place_of(self.demand()),), **fields)

    async def inside(self) -> set[str]:
        return {owner.name for owner, _ in await self.store.services.router.interests(address_held_at(self.address))}

    async def choose(self, terms: Terms) -> None:
        choice = Interest(
            interest_id=self.limit, address="o/limits", kind=InterestKind.MEMBER, where=msgspec.json.encode(terms)
        )
        await self.store.services.router.register(Owner(CHOSEN, OUTSIDE), choice)

    def leaving(self, holder: Append) -> Append:
        """The end of an instance that has a place."""
        gone = (holder.interests[0].interest_id,)
        posts = marks({self.address: Asks.NOTHING}, nonce)
        ended = change(Status.COMPLETED)
        return append(holder, 2, after=holder.writer, change=ended, uninterested=gone, postings=posts)


async def test_a_free_place_is_taken_and_a_taken_one_is_not(store: Store) -> None:
    lane = Lane(store)
    first, second = lane.taking(), lane.taking()

    assert ["accepted"] == await store.commit([first])
    assert ["full"] == await store.commit([second])

    assert await lane.inside() == {first.instance_id}
    assert await store.read(second.instance_id) is None


async def test_of_one_batch_as_many_get_a_place_as_are_free(store: Store) -> None:
    lane, other = Lane(store, 3), Lane(store, 2)
    batch = [one.taking() for _ in range(4) for one in (lane, other)] + [start()]

    outcomes = [str(one) for one in await store.commit(batch)]

    assert outcomes[-1] == "accepted"
    assert [outcomes[0:8:2].count("accepted"), outcomes[1:8:2].count("accepted")] == [3, 2]
    assert [outcomes[0:8:2].count("full"), outcomes[1:8:2].count("full")] == [1, 2]
    accepted = {item.instance_id for item, one in zip(batch[:-1], outcomes, strict=False) if one == "accepted"}
    assert await lane.inside() | await other.inside() == accepted


async def test_batches_at_once_do_not_exceed_the_limit(store: Store) -> None:
    lane = Lane(store, 3)
    batches = [[lane.taking() for _ in range(2)] for _ in range(6)]

    outcomes = await asyncio.gather(*map(store.commit, batches))

    accepted = [one for some in outcomes for one in some if one == "accepted"]
    assert 1 <= len(accepted) <= 3
    assert len(await lane.inside()) == len(accepted)


async def test_nobody_is_overtaken_who_waits(store: Store) -> None:
    lane = Lane(store)
    assert ["accepted"] == await store.commit([start(status=Status.WAITING, interests=(lane.demand(),))])
    assert ["full"] == await store.commit([lane.taking()])

    keyed = Lane(store)
    waiting = start(status=Status.WAITING, interests=(keyed.demand(fair_key="acme"),))
    assert ["accepted"] == await store.commit([waiting])
    assert ["full"] == await store.commit([keyed.taking()])


@pytest.mark.parametrize(
    ("chosen", "outcomes"),
    [
        (Terms(paused=True), ["full", "full", "full"]),
        (Terms(concurrency=2), ["accepted", "accepted", "full"]),
        (Terms(concurrency=9, rate=9, period=1_000_000), ["full", "full", "full"]),
    ],
    ids=["paused", "more", "rate"],
)
async def test_what_an_operator_has_chosen_holds(store: Store, chosen: Terms, outcomes: list[str]) -> None:
    lane = Lane(store)
    await lane.choose(chosen)

    assert [str(one) for _ in range(3) for one in await store.commit([lane.taking()])] == outcomes


async def test_a_place_that_counts_as_several_is_left_to_a_dispatch(store: Store) -> None:
    lane = Lane(store, 5)
    id = f"{unique('place')}~n#3"
    heavy = place_of(demand_of(PlaceAsked(id=id, limit=lane.limit, concurrency=5, units=3)))
    other = start(status=Status.WAITING, interests=(place_of(demand_of(PlaceAsked(id=unique(), limit=unique()))),))
    assert ["full"] == await store.commit([start(status=Status.WAITING, interests=(heavy,))])
    assert ["accepted"] == await store.commit([other])


async def test_an_append_that_is_sent_again_has_its_place(store: Store) -> None:
    lane = Lane(store)
    item = lane.taking()
    assert ["accepted"] == await store.commit([item])

    assert ["accepted", "full"] == await store.commit([item, lane.taking()])

    assert await lane.inside() == {item.instance_id}


async def test_several_places_are_taken_together_or_not_at_all(store: Store) -> None:
    one, two = Lane(store), Lane(store)
    assert ["accepted"] == await store.commit([two.taking()])
    both = start(status=Status.WAITING, interests=(place_of(one.demand()), place_of(two.demand())))

    assert ["full"] == await store.commit([both])

    assert await one.inside() == set()


async def test_a_place_that_the_same_append_gives_back_has_to_be_free(store: Store) -> None:
    lane = Lane(store)
    place = place_of(lane.demand())
    passing: dict[str, Any] = {"interests": (place,), "uninterested": (place.interest_id,)}

    assert ["accepted"] == await store.commit([start(status=Status.COMPLETED, **passing)])
    assert await lane.inside() == set()
    assert ["accepted"] == await store.commit([lane.taking()])
    assert ["full"] == await store.commit([start(status=Status.COMPLETED, **passing)])


async def test_an_end_gives_the_place_to_the_next_one(store: Store, actor: Actor) -> None:
    lane = Lane(store)
    holder = lane.taking(owner=actor.token)
    assert ["accepted"] == await store.commit([holder])
    waiting = start(
        status=Status.WAITING, interests=(lane.demand(),), postings=marks({lane.address: Asks.NOTHING}, nonce)
    )
    assert ["accepted"] == await store.commit([waiting])
    await store.services.router.dispatch([lane.address])
    assert await lane.inside() == {holder.instance_id}

    assert ["accepted"] == await store.commit([lane.leaving(holder)], worker=actor.token)
    await store.services.router.dispatch([lane.address])

    assert await lane.inside() == {waiting.instance_id}


async def test_an_end_leaves_nothing_where_nobody_waits(store: Store, actor: Actor) -> None:
    lane = Lane(store, 3)
    holders = [lane.taking(owner=actor.token) for _ in range(3)]
    assert ["accepted"] * 3 == await store.commit(holders)

    assert ["accepted"] * 3 == await store.commit([lane.leaving(one) for one in holders], worker=actor.token)
    await store.services.router.dispatch([lane.address])

    assert await lane.inside() == set()
    assert await store.services.router.kept(address=lane.address) == []
    assert ["accepted"] * 3 == await store.commit([lane.taking() for _ in range(3)])

"""With 100,000 demands in line, a dispatch of a lane looks at no more rows than with a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.core import PlaceAsked
from romancy.engine.places import Asks, demand_of, marks
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.routing import address_held_at, address_of_lane
from romancy_conformance.contract.building import nonce, start
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy.storage.routing import Interest
    from romancy_conformance.contract.plans import Cost, Watch

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(900)]

INSTANCES, EACH = 2_000, 50
"""100,000 demands at one lane."""
KEYED = 400
"""As many instances ask for one fair key at another lane."""
FEW = 20
ENOUGH = 400
"""Rows that a dispatch may read: some dozen are needed, and those of an instance may be read to be put in order."""


def demands(limit: str, count: int, *, concurrency: int = 1, rate: int = 0, fair_key: str = "") -> tuple[Interest, ...]:
    return tuple(
        demand_of(
            PlaceAsked(
                id=f"{limit}:{number}", limit=limit, concurrency=concurrency, rate=rate,
                period=3_600_000_000 if rate else 0, fair_key=fair_key,
            )
        )
        for number in range(count)
    )  # fmt: skip


def asking(limit: str, count: int, **terms: Any) -> Append:
    """An instance that asks so often for a place."""
    return start(status=Status.WAITING, interests=demands(limit, count, **terms))


@pytest.fixture
def watch(storage_url: str) -> Watch:
    return watch_for(storage_url)


@pytest.fixture
async def full(storage_url: str, watch: Watch) -> AsyncIterator[Store]:
    """A watched store with one long line and some short ones."""
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        for first in range(0, INSTANCES, 100):
            assert {"accepted"} == set(await store.commit([asking("long", EACH) for _ in range(first, first + 100)]))
        for limit in ("short", "next"):
            assert {"accepted"} == set(await store.commit([asking(limit, 1) for _ in range(FEW)]))
        await watch.analyze(store)
        yield store
        await store.close()


@pytest.fixture
async def keyed(storage_url: str, watch: Watch) -> AsyncIterator[Store]:
    """A watched store with a lane in which one key has many demands, and one in which it has few."""
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        for first in range(0, KEYED, 100):
            crowd = [asking("keyed", EACH, fair_key="large") for _ in range(first, first + 100)]
            assert {"accepted"} == set(await store.commit(crowd))
        assert {"accepted"} == set(await store.commit([asking("few", 1, fair_key="large") for _ in range(FEW)]))
        for limit in ("keyed", "few"):
            small = [asking(limit, 1, fair_key=f"small {number}") for number in range(FEW)]
            assert {"accepted"} == set(await store.commit(small))
        await watch.analyze(store)
        yield store
        await store.close()


async def dispatched(store: Store, watch: Watch, limit: str) -> Cost:
    """What a dispatch of the lane costs at which something has changed."""
    lane = address_of_lane(limit, "")
    await store.services.router.post(marks({lane: Asks.NOTHING}, nonce))
    cost = await watch.cost(store, store.services.router.dispatch([lane]))
    assert len(await store.services.router.interests(address_held_at(lane))) == 1
    return cost


async def test_a_dispatch_reads_the_head_of_the_line(full: Store, watch: Watch) -> None:
    short = [await dispatched(full, watch, "short") for _ in range(2)]
    long = [await dispatched(full, watch, "long") for _ in range(2)]

    for which, few, many in zip(("a place is free", "all are taken"), short, long, strict=True):
        assert many.rows <= few.rows + ENOUGH * watch.ahead, f"{which}: {few.rows} and {many.rows}\n{many.plan}"


async def test_a_dispatch_reads_the_heads_of_some_lines(keyed: Store, watch: Watch) -> None:
    few = [await dispatched(keyed, watch, "few") for _ in range(2)]
    many = [await dispatched(keyed, watch, "keyed") for _ in range(2)]

    for which, one, other in zip(("a place is free", "all are taken"), few, many, strict=True):
        assert other.rows <= one.rows + ENOUGH * watch.ahead, f"{which}: {one.rows} and {other.rows}\n{other.plan}"


async def test_a_sweep_and_a_place_that_is_given_back_read_no_more(full: Store, watch: Watch) -> None:
    router = full.services.router
    for limit in ("short", "long"):
        await dispatched(full, watch, limit)
    costs: dict[str, Cost] = {}
    for limit in ("short", "long"):
        lane = address_of_lane(limit, "")
        ((owner, place),) = await router.interests(address_held_at(lane))
        await router.unregister(owner, [place.interest_id])
        await router.post(marks({lane: Asks.NOTHING}, nonce))
        costs[limit] = await watch.cost(full, router.dispatch())
        ((following, other),) = await router.interests(address_held_at(lane))
        assert (following, other.interest_id) != (owner, place.interest_id)

    assert costs["long"].rows <= costs["short"].rows + ENOUGH * watch.ahead, costs["long"].plan

"""With 10,000 events that wait behind one, and as many that were sent, a relay reads no more rows than it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.contract.building import Actor
from romancy_conformance.contract.plans import watch_for
from romancy_conformance.contract.publishing import MINUTE, Publisher, ended, ids, outgoing, take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.plans import Watch

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600)]

COUNT = 10_000
AT_ONCE = 500
LONG = 60 * MINUTE
ENOUGH = 400
"""Rows that a call may read: those that it looks at, each in an index and in the table, and their neighbours."""
SWEEP = 21_000
"""Rows for the slow sweep, which may look at all that wait behind others, and at those."""


@pytest.fixture
def watch(storage_url: str) -> Watch:
    return watch_for(storage_url)


@pytest.fixture
async def full(storage_url: str, watch: Watch) -> AsyncIterator[Store]:
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        yield store
        await store.close()


@pytest.fixture
async def publisher(full: Store) -> Publisher:
    """A publisher whose very many events were sent."""
    actor = await Actor(full, workflows={"w": "c1"}).register()
    publisher = Publisher(actor, await actor.begin())
    for first in range(0, COUNT, AT_ONCE):
        await publisher.publish(*(outgoing(f"k{number}") for number in range(first, first + AT_ONCE)))
        await full.services.outbox.settle([ended(entry) for entry in await take(full, 2 * AT_ONCE)])
    return publisher


async def wait_behind_one(full: Store, publisher: Publisher) -> None:
    """Publish as many of one key, and let claims put them behind the first."""
    for _ in range(0, COUNT, AT_ONCE):
        await publisher.publish(*(outgoing("a") for _ in range(AT_ONCE)))
    (head,) = await take(full, 234, lease=LONG)
    await full.services.outbox.settle([ended(head)])


@pytest.mark.parametrize("statistics", ["none", "fresh"])
async def test_a_relay_reads_what_it_needs(full: Store, watch: Watch, publisher: Publisher, statistics: str) -> None:
    if statistics == "fresh":
        await watch.analyze(full)
    costs: dict[str, tuple[int, str]] = {}

    async def cost(name: str, call: Awaitable[object]) -> None:
        made = await watch.cost(full, call)
        costs[name] = made.rows, made.plan

    await cost("a sweep of none", full.services.outbox.sweep())
    await wait_behind_one(full, publisher)
    (head,) = await take(full, 1, lease=LONG)
    (other,) = await publisher.publish(outgoing("b"))
    await cost("looking", full.services.outbox.claim("c-0", lease=LONG, limit=16))
    (given,) = [
        one for one in await full.services.outbox.entries([OutboxState.PENDING], limit=COUNT + 9) if one.claim == "c-0"
    ]
    assert ids([given]) == [other]
    await cost("settling", full.services.outbox.settle([ended(given)]))
    await cost("nothing due", full.services.outbox.claim("c-1", lease=LONG, limit=16))
    await cost("settling the first of many", full.services.outbox.settle([ended(head)]))
    await cost("the next of many", full.services.outbox.claim("c-2", lease=LONG, limit=16))
    await cost("a sweep", full.services.outbox.sweep())
    await cost("purging nothing", full.services.outbox.purge([OutboxState.PUBLISHED], 1))

    too_dear = {name: one for name, one in costs.items() if one[0] > (SWEEP if name == "a sweep" else ENOUGH)}
    assert {} == too_dear, "\n".join(f"{name}: {rows}\n{plan}" for name, (rows, plan) in too_dear.items())

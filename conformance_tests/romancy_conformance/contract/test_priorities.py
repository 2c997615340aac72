"""Claims take instances by their ranks: a higher priority first, unless one has waited an hour longer for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.ranks import AHEAD
from romancy.storage.records import Change, ClaimRequest
from romancy_conformance.contract.building import Actor, append, change, start, unique
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append

pytestmark = pytest.mark.anyio

SECOND = 1_000_000


def one(actor: Actor, priority: int, **fields: Any) -> Append:
    return start(workflow_name=next(iter(actor.workflows)), priority=priority, **fields)


async def written(actor: Actor, items: Sequence[Append]) -> list[str]:
    """Commit first appends one after the other, so that each is due later than the one before."""
    for item in items:
        assert await actor.write(item) == "accepted"
    return [item.instance_id for item in items]


async def claimed(actor: Actor, limit: int = 10) -> list[str]:
    return [found.instance_id for found in await actor.claim(limit)]


async def test_the_higher_priority_goes_first_and_of_one_the_longest_due(actor: Actor) -> None:
    zero, low, high, last_zero, highest = await written(actor, [one(actor, p) for p in (0, -9, 5, 0, 9)])

    assert [await claimed(actor, 1) for _ in range(6)] == [[highest], [high], [zero], [last_zero], [low], []]


async def test_a_batch_of_starts_has_the_order_too(actor: Actor, store: Store) -> None:
    items = [one(actor, p) for p in (1, 3, -2, 2)]
    assert set(await store.commit(items)) == {"accepted"}

    assert await claimed(actor) == [items[n].instance_id for n in (1, 3, 0, 2)]


async def test_workflows_stand_in_one_line(store: Store) -> None:
    worker = await Actor(store, workflows={unique("flow"): "c1", unique("flow"): "c2"}).register()
    names = [*worker.workflows] * 2
    items = [start(workflow_name=name, priority=p) for name, p in zip(names, (0, 1, 2, 3), strict=True)]
    await written(worker, items)

    assert await claimed(worker, 3) == [items[n].instance_id for n in (3, 2, 1)]
    assert await claimed(worker, 3) == [items[0].instance_id]


@pytest.mark.parametrize(("hours", "first"), [(2, "old"), (4, "old"), (0, "new"), (1, "new")])
async def test_what_has_waited_an_hour_longer_for_each_priority_goes_first(
    actor: Actor, hours: int, first: str
) -> None:
    """One waits with priority 0 since so many hours and a half, and another with 2 since now."""
    now = (await actor.store.claim(ClaimRequest(worker=actor.token, codes={}, limit=0))).now
    since = now - hours * AHEAD - AHEAD // 2
    waited = Change(status=Status.RUNNING, seen=0, release=True, wake_at=since)
    old, new = await written(actor, [one(actor, 0, change=waited), one(actor, 2)])

    assert await claimed(actor, 1) == [{"old": old, "new": new}[first]]


async def test_nobody_is_due_earlier_because_of_a_priority(actor: Actor) -> None:
    """A claim brings what is due, and says when it fell due."""
    later, high = await written(actor, [one(actor, 9, delay=3_600 * SECOND), one(actor, 9)])

    work = await actor.store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=10))

    assert [found.instance_id for found in work.claimed] == [high]
    assert work.now - 60 * SECOND < work.claimed[0].due <= work.now
    assert work.next_due is not None
    assert work.now < work.next_due
    assert later not in await claimed(actor)


@pytest.mark.parametrize("priority", [9, -9])
async def test_a_claim_knows_when_the_next_of_any_priority_is_due(actor: Actor, priority: int) -> None:
    await written(actor, [one(actor, priority, delay=SECOND // 2), one(actor, 0, delay=3_600 * SECOND)])

    work = await actor.store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=10))

    assert work.next_due is not None
    assert work.next_due < work.now + 2 * SECOND


async def test_the_priority_stays_while_an_instance_is_released_and_woken(actor: Actor, store: Store) -> None:
    low, high = [one(actor, p) for p in (0, 1)]
    await written(actor, [low, high])
    assert await claimed(actor) == [high.instance_id, low.instance_id]
    rests = change(Status.RUNNING, release=True, wake_at=0)
    for item in (low, high):
        assert await actor.write(append(item, 2, after=item.writer, change=rests)) == "accepted"

    assert await claimed(actor) == [high.instance_id, low.instance_id]


async def test_it_is_read_with_the_instance(actor: Actor, store: Store) -> None:
    (instance_id,) = await written(actor, [one(actor, -7)])

    found = await store.read(instance_id, limit=0)

    assert found is not None
    assert found.instance.priority == -7


async def test_a_child_has_its_own(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    children = [one(actor, p, parent=begun.instance_id) for p in (0, 4)]
    item = append(begun, 2, change=change(Status.WAITING), starts=tuple(children))
    assert await actor.write(item) == "accepted"

    assert await claimed(actor) == [children[1].instance_id, children[0].instance_id]


MANY = 3_000
FEW = 300
"""More rows than a claim of two looks at, and fewer than there are."""


async def test_a_claim_among_many_looks_at_few_rows(storage_url: str) -> None:
    """Before and after the database has statistics: whether anything waits with another priority, and if it does."""
    watch = watch_for(storage_url)
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        actor = await Actor(store, workflows={unique("flow"): "c1", unique("flow"): "c1"}).register()
        await fill(store, [one(actor, 0) for _ in range(MANY)])
        plain = await watch.cost(store, actor.claim(2))
        await fill(store, [one(actor, p) for p in range(-3, 4)])
        ranked = await watch.cost(store, actor.claim(2))
        await watch.analyze(store)
        known = await watch.cost(store, actor.claim(2))
        await store.close()

    for cost in (plain, ranked, known):
        assert cost.rows < FEW, cost.plan


async def fill(store: Store, items: Sequence[Append]) -> None:
    for first in range(0, len(items), 1000):
        assert {"accepted"} == set(await store.commit(items[first : first + 1000]))

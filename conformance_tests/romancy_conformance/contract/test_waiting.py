"""Wake-ups: no waiting caller misses an instance that became due, in this process or another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.marks import instance_of
from romancy_conformance.contract.building import append, change, delivery, settle, silent, start, step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Open = Callable[[], Awaitable[Store]]

pytestmark = pytest.mark.anyio

LONG = 30.0


async def heard_of(waiter: Store, instance_id: str) -> None:
    """Wait for news of this instance. That of an earlier start may come first: it is sent after the commit."""
    while (changed := await waiter.wait_for_work(LONG)) is not None and instance_id not in changed:
        pass


async def test_a_start_wakes_those_who_wait(store: Store, open_store: Open, workflow_name: str) -> None:
    for waiter in (store, await open_store()):
        await settle(waiter)
        item = start(workflow_name=workflow_name)
        waiting = asyncio.create_task(heard_of(waiter, item.instance_id))
        await asyncio.sleep(0)

        await store.commit([item])

        await asyncio.wait_for(waiting, LONG - 2)


async def test_a_delivery_wakes_those_who_wait(actor: Actor, open_store: Open) -> None:
    begun = await actor.begin()
    other = await open_store()
    await settle(other)
    waiting = asyncio.create_task(other.wait_for_work(LONG))
    await asyncio.sleep(0)

    await actor.store.deliver([delivery(begun)])

    changed = await asyncio.wait_for(waiting, LONG - 2)
    assert changed is None or begun.instance_id in changed


async def test_an_end_wakes_those_who_wait(actor: Actor, open_store: Open) -> None:
    """A client in another process may wait for the result, and learns as well that there will be none."""
    other = await open_store()
    for status in (Status.COMPLETED, Status.STUCK):
        begun = await actor.begin()
        await settle(other)
        waiting = asyncio.create_task(other.wait_for_work(LONG))
        await asyncio.sleep(0)

        await actor.write(append(begun, 2, change=change(status)))

        changed = await asyncio.wait_for(waiting, LONG / 3)  # long before the wait would look by itself
        assert changed is None or begun.instance_id in map(instance_of, changed)


async def test_what_was_committed_before_the_call_is_not_missed(store: Store, open_store: Open) -> None:
    other = await open_store()
    await settle(other)
    item = start()
    await store.commit([item])

    changed = await asyncio.wait_for(other.wait_for_work(LONG), LONG - 2)

    assert changed is None or item.instance_id in changed


async def test_what_concerns_nobody_else_wakes_nobody_here(actor: Actor) -> None:
    """In its own process a worker's own steps do not wake it; between processes a store may be less exact."""
    await silent(actor.store)
    begun = await actor.begin()
    await actor.write(step(begun, 2))
    await actor.write(append(begun, 3, change=change(Status.COMPENSATING)))

    assert await actor.store.wait_for_work(0.2) == frozenset()


async def test_silence_ends_with_the_time_out(store: Store) -> None:
    await silent(store)

    assert await asyncio.wait_for(store.wait_for_work(0.2), 60) == frozenset()


async def test_a_cancelled_wait_leaves_the_store_usable(store: Store) -> None:
    await settle(store)
    waiting = asyncio.create_task(store.wait_for_work(LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    item = start()

    await store.commit([item])

    changed = await asyncio.wait_for(store.wait_for_work(LONG), LONG - 2)
    assert changed is None or item.instance_id in changed

"""A message for one: the longest waiting that it fits takes it, and until there is one it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.query import gt
from romancy.storage.records import Delivered
from romancy.storage.routing import Owner, Place, Spread
from romancy_conformance.contract.building import start, unique
from romancy_conformance.contract.routing.scenes import copy, drained, post, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy.storage.routing import Interest
    from romancy_conformance.contract.building import Actor
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = pytest.mark.anyio


async def test_a_message_is_kept_until_somebody_takes_it(store: Store, receive: Receive) -> None:
    address = unique("k/order")
    (message,) = await post(store, address)
    assert await drained(store, address) == 0
    (kept,) = await store.services.router.kept(address=address)
    assert (kept.message_id, kept.address, kept.spread) == (message.message_id, address, Spread.ONE)

    receiver = await receive()
    await receiver.want(take(address, interest_id="wait"))
    assert await drained(store, address) == 1

    (row,) = await receiver.inbox()
    assert (row.delivery_id, row.body, row.posted_at) == (message.message_id, message.body, kept.at)
    assert (row.address, row.interest) == (address, "wait")
    assert await receiver.signals() == 1
    assert await store.services.router.kept(address=address) == []
    assert await store.services.router.interests(address) == []


async def test_a_kept_message_comes_when_it_is_handed_out(store: Store, receive: Receive) -> None:
    """Behind what has happened to its receiver while it was kept."""
    address = unique("k/order")
    await post(store, address)
    receiver = await receive()
    await receiver.want(take(address))
    before = (await store.services.reading.census()).now
    assert await drained(store, address) == 1
    after = (await store.services.reading.census()).now

    (row,) = await receiver.inbox()
    assert row.posted_at is not None
    assert row.posted_at < before <= row.at <= after


async def test_a_message_that_somebody_waits_for_comes_when_it_is_posted(store: Store, receive: Receive) -> None:
    """Whenever it is dispatched, for a time limit that ends meanwhile."""
    address = unique("k/order")
    receiver = await receive()
    await receiver.want(take(address))
    await post(store, address)
    (kept,) = await store.services.router.kept(address=address)
    assert await drained(store, address) == 1

    (row,) = await receiver.inbox()
    assert (row.at, row.posted_at) == (kept.at, None)


@pytest.mark.parametrize("interest", [take, copy], ids=["taken", "copied"])
async def test_a_message_leaves_a_due_instance_its_place(
    store: Store, actor: Actor, workflow_name: str, interest: Callable[[str], Interest]
) -> None:
    """It has waited for its turn to be claimed, and does not go to the end of the queue."""
    address = unique("k/order")
    items: list[Append] = []
    for _ in range(3):
        items.append(start(workflow_name=workflow_name))
        await store.commit(items[-1:])
    await store.services.router.register(Owner(items[0].instance_id, items[0].life), interest(address))
    await post(store, address, Spread.ONE if interest is take else Spread.EVERY, count=1 if interest is take else 3)
    assert await drained(store, address) == (1 if interest is take else 3)

    assert [claimed.instance_id for claimed in await actor.claim(2)] == [item.instance_id for item in items[:2]]


async def test_the_longest_waiting_takes_the_oldest_that_fits(store: Store, receive: Receive) -> None:
    address = unique("k")
    picky, first, second = await receive(), await receive(), await receive()
    await picky.want(take(address, {"n": gt(1)}))
    await first.want(take(address))
    await second.want(take(address))
    messages = await post(store, address, count=4)

    assert await drained(store, address) == 3

    assert await first.bodies() == [messages[0].body]
    assert await second.bodies() == [messages[1].body]
    assert await picky.bodies() == [messages[2].body]
    assert [one.message_id for one in await store.services.router.kept(address=address)] == [messages[3].message_id]


async def test_an_interest_takes_one_message_only(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    await receiver.want(take(address))
    await post(store, address, count=2)

    assert [await drained(store, address) for _ in range(2)] == [1, 0]

    assert len(await receiver.inbox()) == 1


async def test_who_takes_a_message_and_listens_gets_both(store: Store, receive: Receive) -> None:
    key, kind = unique("k"), unique("e")
    taker, listener = await receive(), await receive()
    await taker.want(take(key), copy(kind))
    await listener.want(copy(kind))
    places = (Place(key, Spread.ONE), Place(kind, Spread.EVERY))
    assert await store.services.router.post([posting(key, places=places)]) == [Delivered.ACCEPTED]

    assert await drained(store, key, kind) == 3

    assert {row.address for row in await taker.inbox()} == {key, kind}
    assert len(await taker.inbox()) == 2
    assert [row.address for row in await listener.inbox()] == [kind]


async def test_a_message_that_is_posted_again_while_its_taker_has_it_is_gone(store: Store, receive: Receive) -> None:
    """Its sender repeats it when it got no answer. A dispatch comes to an end."""
    address = unique("k")
    receiver, message = await receive(), posting(address)
    await receiver.want(take(address))
    await store.services.router.post([message])
    assert await drained(store, address) == 1
    await receiver.want(take(address))
    await store.services.router.post([message])

    await drained(store, address)

    assert [row.delivery_id for row in await receiver.inbox()] == [message.message_id]
    assert await store.services.router.kept(address=address) == []

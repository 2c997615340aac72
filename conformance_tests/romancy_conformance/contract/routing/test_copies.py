"""A message for everyone: each listener gets one copy of what fits, all in one order, and then it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.engine.inbox import in_order_of_arrival
from romancy.errors import InstanceNotFoundError
from romancy.status import Status
from romancy.storage.query import gt
from romancy.storage.records import PruneRequest
from romancy.storage.routing import OUTSIDE, InterestKind, Owner, Place, Spread
from romancy_conformance.contract.building import change, unique
from romancy_conformance.contract.routing.scenes import copy, drained, member, post, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]


def outside() -> Owner:
    return Owner(unique("screen"), OUTSIDE)


async def test_every_listener_gets_a_copy_of_what_fits(store: Store, receive: Receive) -> None:
    address = unique("e")
    all_of_it, large, twice, screen = await receive(), await receive(), await receive(), outside()
    await all_of_it.want(copy(address))
    await large.want(copy(address, {"n": gt(0)}))
    await twice.want(copy(address), copy(address, {"n": gt(0)}))
    assert await store.services.router.register(screen, copy(address)) is None
    messages = await post(store, address, Spread.EVERY, 2)

    assert await drained(store, address) == 7

    bodies = [one.body for one in messages]
    assert await all_of_it.bodies() == await twice.bodies() == bodies
    assert await large.bodies() == bodies[1:]
    letters = await store.services.router.letters(screen.name)
    assert [(one.address, one.body) for one in letters] == [(address, body) for body in bodies]
    assert await store.services.router.kept(address=address) == []
    rows = await twice.inbox()
    assert [(row.address, row.interest) for row in rows] == [(address, None)] * 2
    assert await twice.signals() == 2
    assert len(await store.services.router.interests(address)) == 5, "they go on listening"


async def test_what_nobody_listens_to_is_gone(store: Store, receive: Receive) -> None:
    address = unique("e")
    await post(store, address, Spread.EVERY)
    assert await drained(store, address) == 0

    late = await receive()
    await late.want(copy(address))

    assert await drained(store, address) == 0
    assert (await store.services.router.kept(address=address), await late.inbox()) == ([], [])


async def test_copies_arrive_everywhere_in_one_order(store: Store, receive: Receive) -> None:
    """Also from dispatches of several stores, and after the numbers of the address were forgotten in between."""
    address = unique("c")
    listeners = [await receive() for _ in range(3)]
    for one in listeners:
        await one.want(copy(address))
    for _ in range(4):
        await post(store, address, Spread.CHANNEL, 3)
        await drained(store, address)
        await store.services.router.expire(0)

    orders = [in_order_of_arrival(await one.inbox()) for one in listeners]

    assert [len(order) for order in orders] == [12] * 3
    ids = [[row.delivery_id for row in order] for order in orders]
    assert ids[0] == sorted(ids[0]) == ids[1] == ids[2]
    assert len({row.at for row in orders[0]}) == 12
    assert [row.body for row in orders[0]] == [b'{"n":0}', b'{"n":1}', b'{"n":2}'] * 4


async def test_a_channel_is_taken_from_unless_somebody_listens(store: Store, receive: Receive) -> None:
    address = unique("c")
    worker, other = await receive(), await receive()
    for one in (worker, other):
        assert await store.services.router.register(one.owner, member(address)) is None
    messages = await post(store, address, Spread.CHANNEL, 2)
    assert await drained(store, address) == 0
    await worker.want(take(address))
    assert await drained(store, address) == 1

    assert (await worker.bodies(), await other.bodies()) == ([messages[0].body], [])
    await other.want(take(address))
    assert await drained(store, address) == 1
    assert [row.delivery_id for row in await other.inbox()] == [messages[1].message_id]


async def test_the_first_that_listens_discards_what_was_kept(store: Store, receive: Receive) -> None:
    address = unique("c")
    first, second = await receive(), await receive()
    await post(store, address, Spread.CHANNEL, 2)
    await drained(store, address)

    assert await store.services.router.register(first.owner, copy(address)) is None
    assert await store.services.router.kept(address=address) == []
    await post(store, address, Spread.CHANNEL)
    assert await store.services.router.register(second.owner, copy(address)) is None
    assert await drained(store, address) == 2, "the second discards nothing"


async def test_listening_and_membership_exclude_each_other(store: Store, receive: Receive) -> None:
    address = unique("c")
    one, other, screen = await receive(), await receive(), outside()
    listening = copy(address)
    assert await store.services.router.register(one.owner, listening) is None
    assert await store.services.router.register(one.owner, listening) is None, "it stands already"

    assert await store.services.router.register(other.owner, member(address)) is InterestKind.COPY
    assert await store.services.router.register(one.owner, member(address, listening.interest_id)) is InterestKind.COPY
    assert [owner for owner, _ in await store.services.router.interests(address)] == [one.owner]
    await store.services.router.unregister(one.owner, [listening.interest_id, "another"])
    assert await store.services.router.register(screen, member(address)) is None
    assert await store.services.router.register(one.owner, listening) is InterestKind.MEMBER
    assert await store.services.router.register(one.owner, take(address)) is None, "a receiver is no listener"


async def test_a_repeated_registration_keeps_its_place(store: Store, receive: Receive) -> None:
    address, elsewhere = unique("k"), unique("k")
    first, second = await receive(), await receive()
    await first.want(take(address, interest_id="i"))
    await second.want(take(address, interest_id="i"))
    narrowed = take(address, {"n": gt(0)}, "i")
    await first.want(narrowed)
    assert await store.services.router.register(first.owner, narrowed) is None

    standing = await store.services.router.interests(address)

    assert [(owner, one.where) for owner, one in standing] == [(first.owner, narrowed.where), (second.owner, None)]
    await first.want(take(elsewhere, interest_id="i"))
    assert [owner for owner, _ in await store.services.router.interests(address)] == [second.owner]
    await first.want(take(address, interest_id="i"))
    assert [owner for owner, _ in await store.services.router.interests(address)] == [second.owner, first.owner]


async def test_an_interest_of_what_has_ended_counts_for_nothing(store: Store, receive: Receive) -> None:
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        await interests_end_with(status, store, receive)


async def interests_end_with(status: Status, store: Store, receive: Receive) -> None:
    """End an instance with this status, and check that its interests take no message."""
    address, key = unique("c"), unique("k")
    gone, there = await receive(), await receive()
    await gone.want(copy(address), take(key))
    await there.want(take(key))
    await gone.change(change(status))

    assert await store.services.router.interests(address) == []
    assert await store.services.router.register(there.owner, member(address)) is None
    with pytest.raises(InstanceNotFoundError):
        await store.services.router.register(gone.owner, copy(unique("c")))
    with pytest.raises(InstanceNotFoundError):
        await store.services.router.register(there.owner._replace(life=there.owner.life + 1), copy(unique("c")))
    await post(store, address, Spread.CHANNEL)
    await post(store, key)
    assert await drained(store, address, key) == 1
    assert len(await there.inbox()) == 1


async def test_an_interest_of_another_life_counts_for_nothing(store: Store, receive: Receive) -> None:
    """The id is used again; messages for its former life are dropped."""
    address, name = unique("e"), unique("i")
    former = await receive(name)
    await former.want(copy(address))
    await former.change(change(Status.COMPLETED))
    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(name,))) == 1
    latter = await receive(name)
    assert latter.begun.life != former.begun.life

    await post(store, address, Spread.EVERY)

    assert await drained(store, address) == 0
    assert await latter.inbox() == []


async def test_one_message_goes_to_several_addresses(store: Store, receive: Receive) -> None:
    one, two = unique("e"), unique("e")
    receiver = await receive()
    await receiver.want(copy(one), copy(two))
    await store.services.router.post([posting(one, places=(Place(one, Spread.EVERY), Place(two, Spread.EVERY)))])

    assert await drained(store, one, two) == 2

    assert {row.address for row in await receiver.inbox()} == {one, two}


async def test_a_dispatch_in_small_portions_loses_nothing(store: Store, receive: Receive) -> None:
    key, kind = unique("k"), unique("e")
    takers, listeners = [await receive() for _ in range(4)], [await receive() for _ in range(3)]
    for number, one in enumerate(takers):
        await one.want(take(key, {"n": 6 - number}))
    for one in listeners:
        await one.want(copy(kind))
    await post(store, key, count=7)
    await post(store, kind, Spread.EVERY, 5)

    assert await drained(store, key, kind, limit=2) == 4 + 15

    assert [len(await one.inbox()) for one in listeners] == [5] * 3
    assert [await one.bodies() for one in takers] == [[b'{"n":%d}' % (6 - number)] for number in range(4)]
    assert len(await store.services.router.kept(address=key)) == 3

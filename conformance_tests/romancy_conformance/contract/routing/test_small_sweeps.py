"""Sweeps in small portions: whatever lies behind the first portion is found too, by one of the next sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.routing import OUTSIDE, Owner
from romancy_conformance.contract.building import change, unique
from romancy_conformance.contract.routing.scenes import Receiver, count_interests, drained, post, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]

SEVERAL = 5


async def swept(store: Store, times: int = 4 * SEVERAL) -> int:
    return sum([(await store.services.router.dispatch(limit=1)).delivered for _ in range(times)])


async def test_messages_at_all_addresses_are_routed(store: Store) -> None:
    """Nobody dispatched them: their senders have crashed."""
    owner, addresses = Owner(unique("s"), OUTSIDE), [unique("k") for _ in range(SEVERAL)]
    for address in addresses:
        await store.services.router.register(owner, take(address))
        await post(store, address)

    assert await swept(store) == SEVERAL
    assert {one.address for one in await store.services.router.letters(owner.name)} == set(addresses)


async def test_what_ended_instances_had_taken_comes_back_from_all_of_them(store: Store, receive: Receive) -> None:
    address = unique("k")
    for _ in range(SEVERAL):
        receiver = await receive()
        await receiver.want(take(address))
        await post(store, address)
        assert await drained(store, address) == 1
        await receiver.change(change(Status.COMPLETED, seen=1))

    await swept(store)

    assert len(await store.services.router.kept(address=address)) == SEVERAL


async def test_the_interests_of_all_ended_instances_go_and_those_of_open_ones_stay(
    store: Store, receive: Receive, storage_url: str
) -> None:
    """So do those of a subscriber outside that is named like one of them."""
    open_one, wanted = await receive(), unique("k")
    await open_one.want(take(wanted))
    ended = [await receive() for _ in range(SEVERAL)]
    for receiver in ended:
        await receiver.want(take(unique("k")), take(unique("k")))
        await receiver.change(change(Status.COMPLETED))
    outside = Owner(ended[0].instance_id, OUTSIDE)
    await store.services.router.register(outside, take(wanted))

    await swept(store)

    assert {owner for owner, _ in await store.services.router.interests(wanted)} == {open_one.owner, outside}
    assert await count_interests(storage_url) == 2, "those of ended instances have gone"

"""An interest is one of its owner: by its id it is dropped, and by its id it is replaced and keeps its place or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.records import Outcome
from romancy_conformance.contract.building import start, unique
from romancy_conformance.contract.routing.scenes import Receiver, copy, drained, member, post, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.routing import Interest

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]

ROADS = ("an append", "a session")


async def write(receiver: Receiver, road: str, **fields: Any) -> None:
    """Append with these effects this way."""
    if road == "an append":
        await receiver.write(**fields)
        return
    history = await receiver.actor.store.read(receiver.instance_id)
    assert history is not None
    async with receiver.actor.store.services.sessions.begin() as session:
        item = receiver.next(after=history.rows[-1].writer, **fields)
        assert await session.commit(item, worker=receiver.actor.token) is Outcome.ACCEPTED


async def standing(store: Store, address: str) -> list[tuple[str, str]]:
    return [(owner.name, one.interest_id) for owner, one in await store.services.router.interests(address)]


@pytest.mark.parametrize("road", [*ROADS, "a call"])
async def test_only_the_interest_that_is_named_is_dropped(store: Store, receive: Receive, road: str) -> None:
    one, other, address = await receive(), await receive(), unique("k")
    for receiver in (one, other):
        await receiver.want(take(address, interest_id="a"), take(address, interest_id="b"))

    if road == "a call":
        await store.services.router.unregister(one.owner, ["a"])
    else:
        await write(one, road, uninterested=("a",))

    names = [(one.instance_id, "b"), (other.instance_id, "a"), (other.instance_id, "b")]
    assert sorted(await standing(store, address)) == sorted(names)


@pytest.mark.parametrize("road", [*ROADS, "a call"])
@pytest.mark.parametrize("before", ["the same", "another condition", "another address", "another kind"])
async def test_an_interest_that_is_replaced_keeps_its_place_or_gets_a_new_one(
    store: Store, receive: Receive, road: str, before: str
) -> None:
    """It keeps it while its address and kind stay the same."""
    address = unique("k")
    first: dict[str, Interest] = {
        "the same": take(address, interest_id="w"),
        "another condition": take(address, {"n": 99}, interest_id="w"),
        "another address": take(unique("k"), interest_id="w"),
        "another kind": member(address, interest_id="w"),
    }
    one, other = await receive(), await receive()
    await one.want(first[before])
    await other.want(take(address))

    if road == "a call":
        assert await store.services.router.register(one.owner, take(address, interest_id="w")) is None
    else:
        await write(one, road, interests=(take(address, interest_id="w"),))
    await post(store, address)
    assert await drained(store, address) == 1

    keeps = before in ("the same", "another condition")
    assert [len(await each.inbox()) for each in (one, other)] == ([1, 0] if keeps else [0, 1])


@pytest.mark.parametrize("road", [*ROADS, "a call"])
@pytest.mark.parametrize("now", ["another condition", "another address", "another kind"])
async def test_of_an_interest_that_is_replaced_only_the_new_one_stands(
    store: Store, receive: Receive, road: str, now: str
) -> None:
    address, elsewhere = unique("k"), unique("k")
    wanted: dict[str, Interest] = {
        "another condition": take(address, {"n": 5}, interest_id="w"),
        "another address": take(elsewhere, {"n": 1}, interest_id="w"),
        "another kind": copy(address, {"n": 1}, interest_id="w"),
    }
    receiver, interest = await receive(), wanted[now]
    await receiver.want(take(address, {"n": 1}, interest_id="w"))

    if road == "a call":
        assert await store.services.router.register(receiver.owner, interest) is None
    else:
        await write(receiver, road, interests=(interest,))

    assert await store.services.router.interests(interest.address) == [(receiver.owner, interest)]
    assert len(await store.services.router.interests(address)) == (0 if now == "another address" else 1)


async def test_a_first_append_drops_nothing_of_others(store: Store, receive: Receive) -> None:
    receiver, address = await receive(), unique("k")
    await receiver.want(take(address, interest_id="a"))

    item = start(delay=None, uninterested=("a",), interests=(take(address, interest_id="b"),))
    assert await receiver.actor.write(item) is Outcome.ACCEPTED

    assert sorted(await standing(store, address)) == sorted([(receiver.instance_id, "a"), (item.instance_id, "b")])

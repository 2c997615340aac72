"""What cannot be dispatched at one address holds up no other address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageUnavailableError
from romancy.storage.query import gte
from romancy.storage.routing import Interest, InterestKind, Spread
from romancy_conformance.contract.building import unique
from romancy_conformance.contract.fire.contention import needs_row_locks
from romancy_conformance.contract.interleaving import HoldAt, leave, listen, run
from romancy_conformance.contract.routing.scenes import copy, drained, post, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = pytest.mark.anyio

NEWER = b'{"all":[{"key":"n","predicate":{"type":"FromAnotherAge"}}]}'


def unreadable(kind: InterestKind, address: str) -> Interest:
    """An interest whose conditions a newer version of Romancy has written."""
    return Interest(interest_id="newer", address=address, kind=kind, where=NEWER)


@pytest.mark.parametrize("sweeps", [False, True], ids=["asked", "sweep"])
async def test_an_interest_that_cannot_be_read_holds_up_its_address_alone(
    store: Store, receive: Receive, *, sweeps: bool
) -> None:
    bad, good = sorted((unique("k"), unique("k")))
    early, newer, late, other = [await receive() for _ in range(4)]
    await early.want(take(bad))
    await newer.want(unreadable(InterestKind.TAKE, bad))
    await late.want(take(bad))
    await other.want(take(good))
    messages = await post(store, bad, count=2)
    await post(store, good)

    done = await store.services.router.dispatch(() if sweeps else (bad, good))

    assert done.delivered == 2
    assert list(done.held_up) == [bad]
    assert "newer version" in done.held_up[bad]
    assert len(await other.inbox()) == 1
    assert await early.bodies() == [messages[0].body], "it began to wait before"
    assert await late.inbox() == []
    assert [one.message_id for one in await store.services.router.kept(address=bad)] == [messages[1].message_id]

    await newer.want(take(bad, {"n": gte(0)}, "newer"))
    assert await drained(store, *(() if sweeps else (bad,))) == 1
    assert await newer.bodies() == [messages[1].body]


async def test_no_copy_is_made_before_all_that_listen_can_be_asked(store: Store, receive: Receive) -> None:
    address = unique("e")
    listener, newer = await receive(), await receive()
    await listener.want(copy(address))
    await newer.want(unreadable(InterestKind.COPY, address))
    messages = await post(store, address, Spread.EVERY, count=2)

    assert await drained(store, address) == 0
    await newer.want(copy(address, {"n": gte(0)}, "newer"))
    assert await drained(store, address) == 4
    for one in (listener, newer):
        assert await one.bodies() == [message.body for message in messages]


@pytest.mark.backends("postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_an_address_that_another_dispatch_holds_keeps_no_other_waiting(
    store: Store, other_store: Store, receive: Receive
) -> None:
    """A5: a process may be stopped in the middle of a dispatch."""
    needs_row_locks(store)
    places = sorted(unique("k") for _ in range(4))
    receivers = [await receive() for _ in (*places, "again")]
    for one, address in zip(receivers, [*places, places[2]], strict=True):
        await one.want(take(address))
    await post(store, places[2])
    assert (await other_store.services.router.dispatch([places[2]])).delivered == 1
    for address in places:
        await post(store, address)
    hold = HoldAt("commit")
    listen(other_store, hold)
    stopped = run(other_store, other_store.services.router.dispatch([places[2]]))
    await hold.reached.wait()

    try:
        await store.services.router.dispatch(places)
    except StorageUnavailableError:
        pass  # it says that something is left to do
    got = [len(await one.inbox()) for one in receivers]
    hold.go.set()
    leave(other_store)
    assert (await stopped).delivered == 1

    assert got == [1, 1, 1, 1, 0]
    assert [len(await one.inbox()) for one in receivers] == [1, 1, 1, 1, 1]

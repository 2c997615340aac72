"""A message is compared with a condition once, and nothing that could fit is passed over for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.query import Searched, gt
from romancy.storage.records import Delivered, Outcome
from romancy.storage.routing import OUTSIDE, Owner
from romancy_conformance.contract.building import append, change, joinable, step, unique
from romancy_conformance.contract.interleaving import play
from romancy_conformance.contract.routing.racing import patiently, settled
from romancy_conformance.contract.routing.scenes import drained, post, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = pytest.mark.anyio


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a message was compared with conditions since the last call."""
    counted = [0]
    fits = Searched.fits

    def counting(self: Searched, where: bytes | None) -> bool:
        counted[0] += where is not None
        return fits(self, where)

    def since() -> int:
        before, counted[0] = counted[0], 0
        return before

    monkeypatch.setattr(Searched, "fits", counting)
    return since


async def in_vain(store: Store, receiver: Receiver, address: str, count: int = 3) -> None:
    """Let the instance wait for a number above 100, beside so many messages with smaller ones."""
    await post(store, address, count=count)
    await receiver.want(take(address, {"n": gt(100)}, "wait"))
    assert await drained(store, address) == 0


async def test_a_dispatch_compares_what_is_new(store: Store, receive: Receive, compared: Callable[[], int]) -> None:
    address = unique("k")
    first, second, third = [await receive() for _ in range(3)]
    await in_vain(store, first, address, count=20)
    assert compared() == 20
    await drained(store, address)
    assert compared() == 0
    await second.want(take(address, {"n": gt(200)}))
    await drained(store, address)
    assert compared() == 20, "only the new interest"
    await post(store, address)
    await drained(store, address)
    assert compared() == 2, "only the new message"
    await third.want(take(address))
    assert await drained(store, address) == 1
    assert compared() == 0, "who takes any gets one that others do not want"
    await post(store, address, count=2)
    await store.services.router.post([posting(address, body=b'{"n":101}')])
    assert await drained(store, address) == 1
    assert compared() <= 2 * 3
    assert await first.bodies() == [b'{"n":101}']


async def test_a_backlog_of_many_pages_is_compared_once(
    store: Store, receive: Receive, compared: Callable[[], int]
) -> None:
    """Also where a page has a receiver, and the dispatch ends there."""
    address, kept = unique("k"), 2600
    first, second = await receive(), await receive()
    for begin in range(0, kept, 100):
        batch = [posting(address, body=b'{"n":%d}' % number) for number in range(begin, begin + 100)]
        await store.services.router.post(batch)
    await first.want(take(address, {"n": gt(kept)}))
    await second.want(take(address, {"n": gt(700)}))

    assert await drained(store, address) == 1
    assert compared() <= 2 * kept + 100, "those that were posted together with the last one of a page come again"
    await drained(store, address)
    assert compared() == 0
    await store.services.router.post([posting(address, body=b'{"n":%d}' % (kept + 1))])
    assert await drained(store, address) == 1
    assert compared() == 1
    assert await first.bodies() == [b'{"n":%d}' % (kept + 1)]
    assert len(await store.services.router.kept(address=address, limit=2 * kept)) == kept - 1


async def test_another_condition_is_compared_with_what_is_kept(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    await in_vain(store, receiver, address)

    await receiver.want(take(address, {"n": gt(1)}, "wait"))

    assert await drained(store, address) == 1
    assert await receiver.bodies() == [b'{"n":2}']


async def test_another_condition_of_a_subscriber_outside_too(store: Store) -> None:
    address, screen = unique("c"), Owner(unique("screen"), OUTSIDE)
    await post(store, address, count=3)
    await store.services.router.register(screen, take(address, {"n": gt(100)}, "next"))
    assert await drained(store, address) == 0

    await store.services.router.register(screen, take(address, {"n": gt(1)}, "next"))

    assert await drained(store, address) == 1
    (letter,) = await store.services.router.letters(screen.name)
    assert letter.body == b'{"n":2}'


async def test_a_place_at_another_address_is_a_new_one(store: Store, receive: Receive) -> None:
    address, elsewhere = unique("k"), unique("k")
    other, receiver = await receive(), await receive()
    await in_vain(store, other, elsewhere)
    await in_vain(store, receiver, address)
    (message,) = await post(store, elsewhere)
    await store.services.router.post([posting(elsewhere, body=b'{"n":50}')])
    await drained(store, elsewhere)

    await receiver.want(take(elsewhere, {"n": 50}, "wait"))

    assert await drained(store, elsewhere) == 1
    assert await receiver.bodies() == [b'{"n":50}']
    assert message.message_id in {one.message_id for one in await store.services.router.kept(address=elsewhere)}


@pytest.mark.parametrize("road", ["an append", "a call"])
async def test_an_equal_condition_at_another_address_is_compared_with_what_lies_there(
    store: Store, receive: Receive, road: str
) -> None:
    """It was compared with others there before this one was compared elsewhere."""
    address, elsewhere = unique("k"), unique("k")
    other, receiver = await receive(), await receive()
    await other.want(take(elsewhere, {"n": gt(200)}))
    await store.services.router.post([posting(elsewhere, body=b'{"n":150}')])
    assert await drained(store, elsewhere) == 0
    await in_vain(store, receiver, address)

    moved = take(elsewhere, {"n": gt(100)}, "wait")
    if road == "an append":
        await receiver.want(moved)
    else:
        assert await store.services.router.register(receiver.owner, moved) is None

    assert await drained(store, elsewhere) == 1
    assert await receiver.bodies() == [b'{"n":150}']


async def test_what_is_given_back_is_compared_again(store: Store, receive: Receive) -> None:
    address = unique("k")
    taker, receiver = await receive(), await receive()
    await taker.want(take(address))
    await store.services.router.post([posting(address, body=b'{"n":101}')])
    assert await drained(store, address) == 1
    await in_vain(store, receiver, address)
    (row,) = await taker.inbox()

    assert await store.services.router.give_back(taker.owner, [row.delivery_id]) == 1

    assert await drained(store, address) == 1
    assert [one.delivery_id for one in await receiver.inbox()] == [row.delivery_id]


async def test_what_was_passed_over_and_given_back_is_compared_again(store: Store, receive: Receive) -> None:
    """It had a mark before it was taken."""
    address = unique("k")
    receiver, taker, late = [await receive() for _ in range(3)]
    await in_vain(store, receiver, address, count=1)
    await taker.want(take(address))
    assert await drained(store, address) == 1
    (row,) = await taker.inbox()
    await receiver.want(take(address, {"n": 0}, "wait"))
    await drained(store, address)

    assert await store.services.router.give_back(taker.owner, [row.delivery_id]) == 1
    await late.want(take(address, {"n": 0}))

    assert await drained(store, address) == 1
    assert [one.delivery_id for one in await receiver.inbox()] == [row.delivery_id]


async def test_what_commits_late_is_compared(actor: Actor, store: Store, receive: Receive) -> None:
    """It was posted before others that were compared already, and is older than they are."""
    if actor.store.capabilities.embedded:
        pytest.skip("capability: one writer at a time")
    address = unique("k")
    receiver, writer = await receive(), await receive()
    async with store.services.sessions.begin() as outer:
        async with store.services.sessions.join(joinable(actor, outer)) as joined:
            early = posting(address, body=b'{"n":101}')
            assert await joined.send([], [], [early]) == [Delivered.ACCEPTED]
        await in_vain(store, receiver, address)
        assert await outer.commit(step(writer.begun, 2), worker=actor.token) is Outcome.ACCEPTED

    await drained(store, address)  # unless the store itself, which may watch for the commit, was faster
    assert [row.delivery_id for row in await receiver.inbox()] == [early.message_id]


async def test_who_begins_again_is_compared_with_what_came_meanwhile(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver, other = await receive(), await receive()
    await in_vain(store, receiver, address)
    await other.want(take(address, {"n": gt(200)}))
    await receiver.change(change(Status.FAILED, release=True, seen=0))
    await store.services.router.post([posting(address, body=b'{"n":101}')])
    assert await drained(store, address) == 0

    history = await store.read(receiver.instance_id)
    assert history is not None
    receiver.seq += 1
    again = change(Status.RUNNING, reopens=True)
    await receiver.actor.write(
        append(receiver.begun, receiver.seq, change=again, after=history.rows[-1].writer)
    )  # fmt: skip

    assert await drained(store, address) == 1
    assert b'{"n":101}' not in {one.body for one in await store.services.router.kept(address=address)}


@pytest.mark.dealt
@pytest.mark.parametrize("held", ["dispatch", "waiting", "sending"])
async def test_while_a_dispatch_compares_others_wait_and_send(
    store: Store, other_store: Store, receive: Receive, held: str
) -> None:
    """Each holds the others up between any two of its statements. In the end everybody has what fits."""

    async def scenario() -> Scene:
        address = unique("k")
        standing, late = await receive(), await receive()
        await in_vain(store, standing, address)
        await post(store, address)

        async def others(mine: Store) -> None:
            item = late.next(interests=(take(address, {"n": 2}),))
            assert await settled(mine, item, late.actor.token) is Outcome.ACCEPTED
            await patiently(mine, address)
            await mine.services.router.post([posting(address, body=b'{"n":101}')])
            await patiently(mine, address)

        async def sending(mine: Store) -> None:
            await mine.services.router.post([posting(address, body=b'{"n":101}')])
            await patiently(mine, address)

        async def waiting(mine: Store) -> None:
            item = late.next(interests=(take(address, {"n": 2}),))
            assert await settled(mine, item, late.actor.token) is Outcome.ACCEPTED
            await patiently(mine, address)

        async def check(_: Any, __: Any) -> None:
            if held == "dispatch":
                assert await patiently(store, address) == 0
            assert await late.bodies() == [b'{"n":2}']
            assert await standing.bodies() == [b'{"n":101}']

        if held == "dispatch":
            return patiently(store, address), others(other_store), check
        return (waiting(store), sending(other_store), check) if held == "waiting" else (
            sending(store), waiting(other_store), check,
        )  # fmt: skip

    await play(store, scenario)

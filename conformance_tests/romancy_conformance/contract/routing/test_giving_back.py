"""What was taken and is not used goes back to where it was, and is the first to be taken again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import gt
from romancy.storage.records import Former, PruneRequest
from romancy.storage.routing import OUTSIDE, Owner, Spread
from romancy_conformance.contract.building import append, change, delivery, joinable, start, step, unique
from romancy_conformance.contract.routing.scenes import copy, count_interests, drained, post, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.routing import Posting
    from romancy_conformance.contract.building import Actor
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]


async def given(store: Store, receiver: Receiver, address: str, count: int = 1) -> list[Posting]:
    """Let the instance take so many messages."""
    messages = await post(store, address, Spread.CHANNEL, count)
    await receiver.want(*(take(address) for _ in range(count)))
    assert await drained(store, address) == count
    return messages


async def test_what_is_given_back_is_taken_first(store: Store, receive: Receive) -> None:
    address = unique("c")
    unable, able, picky = await receive(), await receive(), await receive()
    messages = await given(store, unable, address, 3)
    rows = await unable.inbox()
    await post(store, address, Spread.CHANNEL)

    ids = [one.message_id for one in messages]
    assert await store.services.router.give_back(unable.owner, [ids[2], ids[0], "unknown"]) == 2

    assert [row.delivery_id for row in await unable.inbox()] == [ids[1]]
    kept = await store.services.router.kept(address=address)
    assert [one.message_id for one in kept[:2]] == [ids[0], ids[2]]
    assert [(one.at, one.body, one.spread) for one in kept[:2]] == [
        (rows[0].posted_at, rows[0].body, Spread.CHANNEL),
        (rows[2].posted_at, rows[2].body, Spread.CHANNEL),
    ]
    await picky.want(take(address, {"n": gt(1)}))
    await able.want(take(address))
    assert await drained(store, address) == 2
    assert [row.delivery_id for row in await able.inbox()] == [ids[0]]
    assert [row.delivery_id for row in await picky.inbox()] == [ids[2]], "what a condition looks at comes back too"


async def test_copies_are_removed_and_own_mail_stays(store: Store, receive: Receive) -> None:
    address = unique("e")
    receiver = await receive()
    await receiver.want(copy(address))
    await post(store, address, Spread.EVERY)
    await drained(store, address)
    own = delivery(receiver.begun)
    await store.deliver([own])

    ids = [row.delivery_id for row in await receiver.inbox()]
    assert await store.services.router.give_back(receiver.owner, ids) == 1

    assert [row.delivery_id for row in await receiver.inbox()] == [own.delivery_id]
    assert await store.services.router.kept(address=address) == []


async def test_what_was_consumed_does_not_come_back(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    (message,) = await given(store, receiver, address)
    await receiver.write(consumed=(message.message_id,))

    assert await store.services.router.give_back(receiver.owner, [message.message_id]) == 0
    assert await store.services.router.kept(address=address) == []


async def test_a_former_life_cannot_give_back_what_its_successor_has(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    (message,) = await given(store, receiver, address)

    stranger = receiver.owner._replace(life=receiver.owner.life + 1)
    assert await store.services.router.give_back(stranger, [message.message_id]) == 0
    assert len(await receiver.inbox()) == 1


async def test_what_was_taken_anew_since_stays(store: Store, receive: Receive) -> None:
    """A call that was carried out is sent again, or comes late, after the message was handed out once more."""
    address = unique("k")
    receiver = await receive()
    (message,) = await given(store, receiver, address)
    (first,) = await receiver.inbox()
    await receiver.want(take(address))
    give_back = partial(store.services.router.give_back, receiver.owner, [message.message_id], at=first.at)
    assert await give_back() == 1
    assert await drained(store, address) == 1

    assert await give_back() == 0

    (second,) = await receiver.inbox()
    assert (second.delivery_id, second.at > first.at) == (message.message_id, True)
    assert await store.services.router.kept(address=address) == []
    assert await receiver.signals() == 2, "it is counted, so somebody looks at it"


async def ended(receiver: Receiver) -> None:
    await receiver.change(change(Status.COMPLETED, seen=await receiver.signals()))


async def test_a_purge_gives_back(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    (message,) = await given(store, receiver, address)
    await receiver.want(take(address))
    await ended(receiver)

    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(receiver.instance_id,))) == 1

    assert [one.message_id for one in await store.services.router.kept(address=address)] == [message.message_id]
    heir = await receive(receiver.instance_id)
    await heir.want(take(address))
    assert await drained(store, address) == 1
    assert [row.delivery_id for row in await heir.inbox()] == [message.message_id]


@pytest.mark.parametrize("how", ["by its id", "by its age", "by a new life"])
async def test_a_purge_leaves_a_subscriber_outside_of_that_name_alone(
    actor: Actor, store: Store, receive: Receive, how: str
) -> None:
    address, receiver = unique("k"), await receive()
    outside = Owner(receiver.instance_id, OUTSIDE)
    await store.services.router.register(outside, take(address))
    await ended(receiver)

    if how == "by its id":
        assert await store.services.upkeep.prune(PruneRequest(instance_ids=(receiver.instance_id,))) == 1
    elif how == "by its age":
        assert await store.services.upkeep.prune(PruneRequest(ended_before=2**62)) == 1
    else:
        former = Former(receiver.begun.life, frozenset(TERMINAL_STATUSES))
        assert await actor.write(start(receiver.instance_id, replaces=former, delay=None)) == "accepted"

    assert [owner for owner, _ in await store.services.router.interests(address)] == [outside]


async def test_what_belongs_to_an_instance_that_is_gone_is_swept(
    actor: Actor, store: Store, receive: Receive, storage_url: str
) -> None:
    """Its row was removed from outside: what it had taken comes back, and its interests go."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    address, gone, other = unique("k"), await receive(), await receive()
    messages = [(await given(store, gone, address))[0] for _ in range(2)]
    await gone.want(take(unique("k")), take(unique("k")))
    await other.want(take(unique("k")))
    sql = f"delete from romancy_instances where instance_id = {store.capabilities.placeholder}"  # noqa: S608 - a placeholder
    async with store.services.sessions.begin() as session:
        assert await session.execute(sql, gone.instance_id) == 1
        assert await session.commit(start(delay=None)) == "accepted"

    for _ in range(4):
        await store.services.router.dispatch()

    kept = [one.message_id for one in await store.services.router.kept(address=address)]
    assert kept == [message.message_id for message in messages]
    assert await count_interests(storage_url) == 1, "that of the other instance"


async def test_a_new_life_gives_back_if_it_is_committed(actor: Actor, store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver, writer = await receive(), await receive()
    (message,) = await given(store, receiver, address)
    await ended(receiver)
    begun = receiver.begun
    heir = start(begun.instance_id, replaces=Former(begun.life, frozenset(TERMINAL_STATUSES)))

    async with store.services.sessions.begin() as outer, store.services.sessions.join(joinable(actor, outer)) as joined:
        assert await joined.commit(heir) == "accepted"
    assert await store.services.router.kept(address=address) == []
    async with store.services.sessions.begin() as outer:
        async with store.services.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.commit(heir) == "accepted"
        assert await outer.commit(step(writer.begun, 2), worker=actor.token) == "accepted"

    assert [one.message_id for one in await store.services.router.kept(address=address)] == [message.message_id]


async def test_a_sweep_gives_back_what_an_end_left_and_removes_its_interests(store: Store, receive: Receive) -> None:
    address, elsewhere = unique("k"), unique("k")
    ends, waits = await receive(), await receive()
    (message,) = await given(store, ends, address)
    await ends.want(take(elsewhere, interest_id="old"))
    await ended(ends)
    await waits.want(take(address))

    assert sum([await drained(store) for _ in range(2)]) == 1

    assert [row.delivery_id for row in await waits.inbox()] == [message.message_id]
    again = change(Status.RUNNING, seen=1, reopens=True)
    history = await store.read(ends.instance_id)
    assert history is not None
    ends.seq += 1
    await ends.actor.write(append(ends.begun, ends.seq, change=again, after=history.rows[-1].writer))
    assert await store.services.router.interests(elsewhere) == [], "it has begun again, without what it wanted before"


async def test_a_subscriber_outside_gives_back_what_it_took(store: Store, receive: Receive) -> None:
    address, kind = unique("c"), unique("e")
    screen, other = Owner(unique("screen"), OUTSIDE), await receive()
    await store.services.router.register(screen, take(address))
    await store.services.router.register(screen, copy(kind))
    (message,) = await post(store, address, Spread.CHANNEL)
    (kept,) = await store.services.router.kept(address=address)
    await post(store, kind, Spread.EVERY)
    assert await drained(store, address, kind) == 2
    letters = await store.services.router.letters(screen.name)

    assert await store.services.router.give_back(screen, [one.letter_id for one in letters]) == 2

    assert await store.services.router.letters(screen.name) == []
    assert await store.services.router.kept(address=address) == [kept]
    await other.want(take(address, {"n": 0}))
    assert await drained(store, address) == 1
    assert [row.delivery_id for row in await other.inbox()] == [message.message_id]

"""Routing while others act: held open between any two statements, no message is lost, doubled, or left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Delivered, Former, Outcome, PruneRequest
from romancy.storage.routing import InterestKind, Place, Spread
from romancy_conformance.contract.building import append, change, joinable, start, unique
from romancy_conformance.contract.interleaving import Hold, held_at, leave, listen, play, run
from romancy_conformance.contract.routing.racing import patiently, settled
from romancy_conformance.contract.routing.scenes import copy, drained, member, post, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]


async def posted(store: Store, address: str, spread: Spread = Spread.ONE) -> None:
    """Post and dispatch, as a sender does."""
    await post(store, address, spread)
    await patiently(store, address)


@pytest.mark.parametrize("held", ["sender", "receiver"])
async def test_a_sender_and_a_receiver_do_not_miss_each_other(
    store: Store, other_store: Store, receive: Receive, held: str
) -> None:
    """B2: each acts and then dispatches; whichever comes later sees both."""

    async def scenario() -> Scene:
        address = unique("k")
        receiver = await receive()
        (mine, theirs) = (store, other_store) if held == "receiver" else (other_store, store)

        async def receiving() -> None:
            item = receiver.next(interests=(take(address),))
            assert await mine.commit([item], worker=receiver.actor.token) == [Outcome.ACCEPTED]
            await patiently(mine, address)

        async def check(_: Any, __: Any) -> None:
            assert len(await receiver.inbox()) == 1
            assert (
                await store.services.router.kept(address=address),
                await store.services.router.interests(address),
            ) == (
                [],
                [],
            )

        one, two = receiving(), posted(theirs, address)
        return (one, two, check) if held == "receiver" else (two, one, check)

    await play(store, scenario)


async def test_two_dispatches_deliver_once(store: Store, other_store: Store, receive: Receive) -> None:
    async def scenario() -> Scene:
        key, kind = unique("k"), unique("e")
        receivers = [await receive() for _ in range(3)]
        for one in receivers:
            await one.want(take(key), copy(kind))
        for _ in range(2):
            await store.services.router.post([posting(key, places=(Place(key, Spread.ONE), Place(kind, Spread.EVERY)))])

        async def check(one: int, two: int) -> None:
            assert one + two == 2 + 2 * 3
            inboxes = [await each.inbox() for each in receivers]
            assert sorted(len(inbox) for inbox in inboxes) == [2, 3, 3]
            taken = [row.delivery_id for inbox in inboxes for row in inbox if row.address == key]
            assert len(set(taken)) == len(taken) == 2
            assert [await each.signals() for each in receivers] == [len(inbox) for inbox in inboxes]

        return patiently(store, key, kind), patiently(other_store, kind, key), check

    await play(store, scenario)


@pytest.mark.parametrize("held", ["dispatch", "append"])
async def test_a_dropped_interest_takes_nothing_or_has_taken(
    store: Store, other_store: Store, receive: Receive, held: str
) -> None:
    """Of an append that drops an interest and a dispatch that answers it, one is first; the message is in one place."""

    async def scenario() -> Scene:
        address = unique("k")
        receiver = await receive()
        await receiver.want(take(address, interest_id="wait"))
        await post(store, address)
        (mine, theirs) = (store, other_store) if held == "append" else (other_store, store)
        item = receiver.next(uninterested=("wait",), change=change())

        async def check(_: Any, __: Any) -> None:
            rows, kept = await receiver.inbox(), await store.services.router.kept(address=address)
            assert len(rows) + len(kept) == 1
            assert await store.services.router.interests(address) == []
            assert await patiently(store, address) == 0

        one, two = settled(mine, item, receiver.actor.token), patiently(theirs, address)
        return (one, two, check) if held == "append" else (two, one, check)

    await play(store, scenario)


@pytest.mark.parametrize("held", ["append", "dispatch"])
async def test_an_interest_that_moves_to_another_address_takes_nothing_or_has_taken(
    store: Store, other_store: Store, receive: Receive, held: str
) -> None:
    """Whichever is first, it stands at the other address then."""

    async def scenario() -> Scene:
        address, elsewhere = unique("k"), unique("k")
        receiver = await receive()
        await receiver.want(take(address, interest_id="wait"))
        await post(store, address)
        (mine, theirs) = (store, other_store) if held == "append" else (other_store, store)
        item = receiver.next(interests=(take(elsewhere, interest_id="wait"),), change=change())

        async def check(_: Any, __: Any) -> None:
            rows, kept = await receiver.inbox(), await store.services.router.kept(address=address)
            assert len(rows) + len(kept) == 1
            assert await store.services.router.interests(address) == []
            assert [one.interest_id for _, one in await store.services.router.interests(elsewhere)] == ["wait"]

        one, two = settled(mine, item, receiver.actor.token), patiently(theirs, address)
        return (one, two, check) if held == "append" else (two, one, check)

    await play(store, scenario)


@pytest.mark.parametrize("held", ["dispatch", "end"])
async def test_a_message_outlives_an_end_a_purge_and_a_new_life(
    store: Store, other_store: Store, receive: Receive, held: str
) -> None:
    """It never reaches the new life of the id, and once swept the next that waits has it."""

    async def scenario() -> Scene:
        address = unique("k")
        receiver = await receive()
        await receiver.want(take(address))
        (message,) = await post(store, address)
        (mine, theirs) = (store, other_store) if held == "end" else (other_store, store)
        name, token = receiver.instance_id, receiver.actor.token

        async def ending() -> Receiver | None:
            item = receiver.next(change=change(Status.COMPLETED))
            outcome = await settled(mine, item, token)
            if outcome is Outcome.UNSEEN:
                return None
            assert outcome is Outcome.ACCEPTED
            while not await mine.services.upkeep.prune(PruneRequest(instance_ids=(name,))):
                pass
            return await receive(name)

        async def check(*answers: Any) -> None:
            heir: Receiver | None = answers[0 if held == "end" else 1]
            if heir is None:
                assert [row.delivery_id for row in await receiver.inbox()] == [message.message_id]
                return
            for _ in range(2):
                await patiently(store)
            assert await heir.inbox() == []
            assert [one.message_id for one in await store.services.router.kept(address=address)] == [message.message_id]
            await heir.want(take(address))
            assert await patiently(store, address) == 1
            assert [row.delivery_id for row in await heir.inbox()] == [message.message_id]

        one, two = ending(), patiently(theirs, address)
        return (one, two, check) if held == "end" else (two, one, check)

    await play(store, scenario)


@pytest.mark.parametrize("held", ["dispatch", "end"])
async def test_the_next_in_line_gets_what_was_given_to_one_that_is_ended_from_outside(
    store: Store, other_store: Store, receive: Receive, held: str
) -> None:
    """The caller that ends the instance does not know its interests, and sweeps once. A later sweep finds nothing."""

    async def scenario() -> Scene:
        address = unique("k")
        first, following = await receive(), await receive()
        for receiver in (first, following):
            await receiver.want(take(address))
        (message,) = await post(store, address)
        (mine, theirs) = (store, other_store) if held == "end" else (other_store, store)

        async def ending() -> None:
            outcome = Outcome.UNSEEN
            while outcome is Outcome.UNSEEN:
                item = first.next(change=change(Status.CANCELLED, seen=await first.signals()))
                outcome = await settled(mine, item, first.actor.token)
                first.seq -= outcome is Outcome.UNSEEN
            assert outcome is Outcome.ACCEPTED
            await patiently(mine)

        async def check(_: Any, __: Any) -> None:
            assert [row.delivery_id for row in await following.inbox()] == [message.message_id]
            assert await store.services.router.kept(address=address) == []

        one, two = ending(), patiently(theirs, address)
        return (one, two, check) if held == "end" else (two, one, check)

    await play(store, scenario)


async def test_a_new_life_and_a_dispatch_agree(
    actor: Actor, store: Store, other_store: Store, receive: Receive
) -> None:
    """The id is used again in the transaction that removes the former life."""

    async def scenario() -> Scene:
        address = unique("k")
        receiver = await receive()
        await receiver.want(take(address, interest_id="first"), take(address, interest_id="second"))
        (first, second) = await post(store, address, count=2)
        assert (await store.services.router.dispatch([address], limit=1)).delivered == 1
        await receiver.change(change(Status.FAILED, seen=1))
        begun = receiver.begun

        async def replacing() -> None:
            former = Former(begun.life, frozenset(TERMINAL_STATUSES))
            assert await store.commit([start(begun.instance_id, replaces=former)]) == [Outcome.ACCEPTED]

        async def check(_: Any, __: Any) -> None:
            kept = await store.services.router.kept(address=address)
            assert [one.message_id for one in kept] == [first.message_id, second.message_id]

        return replacing(), patiently(other_store, address), check

    await play(store, scenario)


async def test_listening_and_membership_do_not_both_come_to_stand(
    store: Store, other_store: Store, receive: Receive
) -> None:
    async def scenario() -> Scene:
        address = unique("c")
        one, two = await receive(), await receive()

        async def check(first: InterestKind | None, second: InterestKind | None) -> None:
            assert {first, second} in ({None, InterestKind.COPY}, {None, InterestKind.MEMBER})
            assert len(await store.services.router.interests(address)) == 1

        listening = store.services.router.register(one.owner, copy(address))
        return listening, other_store.services.router.register(two.owner, member(address)), check

    await play(store, scenario)


async def test_who_listens_first_gets_all_that_comes_after_or_finds_it_gone(
    store: Store, other_store: Store, receive: Receive
) -> None:
    """What is posted while the first listener registers is copied to it or discarded, and does not stay."""

    async def scenario() -> Scene:
        address = unique("c")
        receiver = await receive()
        await post(store, address, Spread.CHANNEL)

        async def check(_: Any, __: Any) -> None:
            await patiently(store, address)
            assert await store.services.router.kept(address=address) == []
            assert await receiver.bodies() in ([], [b'{"n":0}'])

        return (
            store.services.router.register(receiver.owner, copy(address)),
            posted(other_store, address, Spread.CHANNEL),
            check,
        )

    await play(store, scenario)


async def test_who_listens_before_a_message_is_posted_gets_it(
    store: Store, other_store: Store, receive: Receive
) -> None:
    """Also if both come while a dispatch of that address is under way."""

    async def scenario() -> Scene:
        kind = unique("e")
        first, later = await receive(), await receive()
        await first.want(copy(kind))
        await post(store, kind, Spread.EVERY)

        async def listening() -> None:
            await later.want(copy(kind))
            await post(other_store, kind, Spread.EVERY)

        async def check(_: Any, __: Any) -> None:
            await patiently(store, kind)
            assert len(await first.inbox()) == 2
            assert len(await later.inbox()) in (1, 2)

        return store.services.router.dispatch([kind]), listening(), check

    await play(store, scenario)


async def test_of_two_copies_of_a_posting_one_is_accepted(store: Store, other_store: Store) -> None:
    async def scenario() -> Scene:
        address = unique("k")
        message = posting(address, dedupe=unique("d"))

        async def check(first: list[Delivered], second: list[Delivered]) -> None:
            assert sorted([*first, *second]) == [Delivered.ACCEPTED, Delivered.DUPLICATE]
            assert len(await store.services.router.kept(address=address)) == 1

        return store.services.router.post([message]), other_store.services.router.post([message]), check

    await play(store, scenario)


async def test_giving_back_and_consuming_agree(store: Store, other_store: Store, receive: Receive) -> None:
    async def scenario() -> Scene:
        address = unique("k")
        receiver = await receive()
        await receiver.want(take(address))
        (message,) = await post(store, address)
        assert await drained(store, address) == 1
        item = append(receiver.begun, 3, consumed=(message.message_id,))

        async def check(given: int, outcomes: list[Outcome]) -> None:
            kept = await store.services.router.kept(address=address)
            assert (given, outcomes, len(kept)) in ((1, [Outcome.GONE], 1), (0, [Outcome.ACCEPTED], 0))
            assert await receiver.inbox() == []

        back = store.services.router.give_back(receiver.owner, [message.message_id])
        return back, other_store.commit([item], worker=receiver.actor.token), check

    await play(store, scenario)


async def test_an_open_transaction_that_posts_holds_up_nobody(actor: Actor, store: Store, receive: Receive) -> None:
    if actor.store.capabilities.embedded:
        pytest.skip("capability: one writer at a time")
    address = unique("k")
    receiver = await receive()

    async with store.services.sessions.begin() as outer, store.services.sessions.join(joinable(actor, outer)) as joined:
        assert await joined.send([], [], [posting(address)]) == [Delivered.ACCEPTED]
        await receiver.want(take(address))
        assert (await store.services.router.dispatch([address])).delivered == 0
        await posted(store, address)
        assert await receiver.signals() == 1


async def test_wherever_a_dispatch_ends_sweeps_bring_the_message(
    store: Store, other_store: Store, receive: Receive
) -> None:
    """F8: after a crash between the post and the dispatch, in it, or between its commit and its count."""
    for number in range(40):
        address, kind = unique("k"), unique("e")
        receiver, listener = await receive(), await receive()
        await receiver.want(take(address))
        await listener.want(copy(kind))
        await post(store, address)
        await post(store, kind, Spread.EVERY)

        ran = await _cut_off(store, store.services.router.dispatch([address, kind]), number)

        while (await other_store.services.router.dispatch()).more:
            pass
        for one in (receiver, listener):
            assert len(await one.inbox()) == 1
        if ran:
            assert number > 1, "the dispatch sent nothing"
            return
    raise AssertionError("the dispatch sends more than 40 statements")


async def _cut_off(store: Store, call: Awaitable[Any], number: int) -> bool:
    """Cancel a call before this statement of it, counted from 0; return whether it ran through."""
    hold = Hold(number + 1)
    listen(store, hold)
    calling = run(store, call)
    was_held = await held_at(hold, calling)
    if was_held:
        calling.cancel()
    await asyncio.wait({calling})
    leave(store)
    return not was_held

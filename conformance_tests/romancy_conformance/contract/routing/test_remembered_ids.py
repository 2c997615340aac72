"""An id is remembered where its message was sent: by a life of an instance, or at the address that is the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import Delivered, Former, Outcome, PruneRequest
from romancy.storage.routing import OUTSIDE, Owner, Place, Spread, address_of_type
from romancy_conformance.contract.building import append, change, delivery, joinable, start, unique
from romancy_conformance.contract.routing.scenes import Receiver, copy, drained, posting
from romancy_conformance.contract.routing.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = pytest.mark.anyio

NEW, KNOWN = Delivered.ACCEPTED, Delivered.DUPLICATE


async def end(actor: Actor, begun: Append, seen: int) -> None:
    assert await actor.write(append(begun, 2, change=change(Status.COMPLETED, seen=seen))) is Outcome.ACCEPTED


async def replace(actor: Actor, over: Append, life: int | None = None) -> Append:
    """Begin another life under the id of an instance that has ended."""
    former = Former(over.life, frozenset({Status.COMPLETED}))
    return await actor.begin(over.instance_id, replaces=former, life=life or over.life + 1)


# ── inside an instance ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_instance_knows_no_id_of_another(actor: Actor, store: Store) -> None:
    """Not even if their lives have one number."""
    one, another, key = await actor.begin(life=7), await actor.begin(life=7), unique("k")

    batch = [delivery(each, dedupe=key) for each in (one, another, one, another)]

    assert await store.deliver(batch) == [NEW, NEW, KNOWN, KNOWN]
    assert await store.deliver([delivery(each, dedupe=key) for each in (another, one)]) == [KNOWN] * 2


async def test_a_life_knows_no_id_of_a_former_one(actor: Actor, store: Store) -> None:
    first, key = await actor.begin(), unique("k")
    assert await store.deliver([delivery(first, dedupe=key)]) == [NEW]
    await end(actor, first, 1)

    second = await replace(actor, first)

    assert await store.deliver([delivery(second, dedupe=key)]) == [NEW]
    assert await store.deliver([delivery(second, dedupe=key)]) == [KNOWN]


async def test_an_id_goes_with_its_instance(actor: Actor, store: Store) -> None:
    """Nothing that was remembered is left, even for a life that has the number of the first one."""
    first, key = await actor.begin(), unique("k")
    assert await store.deliver([delivery(first, dedupe=key)]) == [NEW]
    await end(actor, first, 1)
    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(first.instance_id,))) == 1

    second = await actor.begin(first.instance_id, life=first.life)
    assert await store.deliver([delivery(second, dedupe=key)]) == [NEW]
    await end(actor, second, 1)
    third = await replace(actor, second)
    await end(actor, third, 0)
    fourth = await replace(actor, third, life=first.life)

    assert await store.deliver([delivery(fourth, dedupe=key)]) == [NEW]


async def test_a_life_that_begins_with_mail_remembers_it(actor: Actor, store: Store) -> None:
    """A signal starts an instance in place of one that has ended."""
    first, key = await actor.begin(), unique("k")
    assert await store.deliver([delivery(first, dedupe=key)]) == [NEW]
    await end(actor, first, 1)
    mail = delivery(first, dedupe=key)

    heir = await actor.begin(
        first.instance_id,
        replaces=Former(first.life, frozenset({Status.COMPLETED})),
        deliveries=(mail,),
    )

    assert [row.delivery_id for row in await Receiver(actor, heir).inbox()] == [mail.delivery_id]
    assert await store.deliver([delivery(heir, dedupe=key)]) == [KNOWN]


async def test_an_append_sends_once_however_it_is_written(actor: Actor, store: Store, receive: Receive) -> None:
    for way in WAYS:
        sender, receiver, key = await receive(), await receive(), unique("k")
        first, again = delivery(receiver.begun, dedupe=key), delivery(receiver.begun, dedupe=key)

        for mail in (first, again):
            assert await way(actor, [sender.next(deliveries=(mail, delivery(sender.begun, dedupe=unique("k"))))]) == [
                Outcome.ACCEPTED
            ]

        assert [row.delivery_id for row in await receiver.inbox()] == [first.delivery_id], way
        assert await store.deliver([delivery(receiver.begun, dedupe=key)]) == [KNOWN], way


async def test_an_append_sends_to_the_present_life_however_it_is_written(
    actor: Actor, store: Store, receive: Receive
) -> None:
    for way in WAYS:
        sender, first, key = await receive(), await actor.begin(), unique("k")
        assert await store.deliver([delivery(first, dedupe=key)]) == [NEW]
        await end(actor, first, 1)
        second = Receiver(actor, await replace(actor, first))
        mail = delivery(second.begun, dedupe=key)

        assert await way(actor, [sender.next(deliveries=(mail,))]) == [Outcome.ACCEPTED]

        assert [row.delivery_id for row in await second.inbox()] == [mail.delivery_id], way


async def test_a_child_remembers_what_it_is_born_with(actor: Actor, store: Store, receive: Receive) -> None:
    for way in WAYS:
        sender, child, key = await receive(), start(workflow_name="another"), unique("k")

        item = sender.next(starts=(child,), deliveries=(delivery(child, dedupe=key), delivery(child, dedupe=key)))

        assert await way(actor, [item]) == [Outcome.ACCEPTED]
        assert await store.deliver([delivery(child, dedupe=key)]) == [KNOWN], way


async def test_a_joined_session_sends_once_to_the_present_life(actor: Actor, store: Store, receive: Receive) -> None:
    sender, first, key = await receive(), await actor.begin(), unique("k")
    assert await store.deliver([delivery(first, dedupe=key)]) == [NEW]
    await end(actor, first, 1)
    second = Receiver(actor, await replace(actor, first))
    new, mail = start(workflow_name="another"), delivery(second.begun, dedupe=key)
    beside = delivery(second.begun, dedupe=unique("k"))

    async with store.services.sessions.begin() as outer:
        async with store.services.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.send([mail, delivery(second.begun, dedupe=key)], [], []) == [NEW, KNOWN]
            assert await joined.send([delivery(second.begun, dedupe=key)], [], []) == [KNOWN]
            assert await joined.send([beside], [], []) == [NEW], "the one that lies there has another key"
            assert await joined.commit(new) is Outcome.ACCEPTED
            assert await joined.send([delivery(new, dedupe=key), delivery(new, dedupe=key)], [], []) == [NEW, KNOWN]
        assert await outer.commit(sender.next(), worker=actor.token) is Outcome.ACCEPTED

    assert [row.delivery_id for row in await second.inbox()] == [mail.delivery_id, beside.delivery_id]
    assert await store.deliver([delivery(one, dedupe=key) for one in (second.begun, new)]) == [KNOWN] * 2


# ── at an address ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_topic_knows_no_id_of_another(store: Store) -> None:
    one, another, key = unique("e"), unique("e"), unique("d")

    batch = [posting(each, dedupe=key) for each in (one, another, one, another)]

    assert await store.services.router.post(batch) == [NEW, NEW, KNOWN, KNOWN]
    assert await store.services.router.post([posting(each, dedupe=key) for each in (another, one)]) == [KNOWN] * 2


async def test_the_topic_is_the_last_place(store: Store) -> None:
    """An event with a key is posted to the key, and to its type, which knows it whatever its key."""
    kind, other, key = unique("e"), unique("e"), unique("d")

    def event(kind: str) -> tuple[Place, ...]:
        return (Place(unique("k"), Spread.ONE), Place(kind, Spread.EVERY))

    places = event(kind)
    batch = [posting("", places=each, dedupe=key) for each in (places, event(other), event(kind), places)]

    assert await store.services.router.post(batch) == [NEW, NEW, KNOWN, KNOWN]
    assert len(await store.services.router.kept(address=places[0].address)) == 1
    assert await store.services.router.post([posting("", places=event(kind), dedupe=key)]) == [KNOWN]
    assert await store.services.router.post([posting(places[0].address, dedupe=key)]) == [NEW], "it is no topic of it"


async def test_an_append_posts_once_at_a_topic_however_it_is_written(
    actor: Actor, store: Store, receive: Receive
) -> None:
    for way in WAYS:
        sender, one, another, key = await receive(), unique("e"), unique("e"), unique("d")

        for _ in range(2):
            postings = tuple(posting(each, Spread.ONE, dedupe=key) for each in (one, another))
            assert await way(actor, [sender.next(postings=postings)]) == [Outcome.ACCEPTED]

        assert [1, 1] == [len(await store.services.router.kept(address=each)) for each in (one, another)], way


async def test_an_address_and_an_instance_of_one_name_know_different_ids(actor: Actor, store: Store) -> None:
    address, key = address_of_type(unique("t")), unique("k")
    begun = await actor.begin(address)
    await store.services.router.register(Owner("outside", OUTSIDE), copy(address))

    assert await store.deliver([delivery(begun, dedupe=key)]) == [NEW]
    assert await store.services.router.post([posting(address, Spread.EVERY, dedupe=key)]) == [NEW]
    assert await drained(store, address) == 1
    await end(actor, begun, 1)
    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(address,))) == 1

    assert await store.services.router.post([posting(address, Spread.EVERY, dedupe=key)]) == [KNOWN]
    again = await actor.begin(address)
    assert await store.deliver([delivery(again, dedupe=key)]) == [NEW]

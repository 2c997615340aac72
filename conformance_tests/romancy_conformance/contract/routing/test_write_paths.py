"""Interests and messages go with the append that carries them, however it is written, and only if it is accepted."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import InternalError, PayloadTooLargeError, UsageError
from romancy.status import Status
from romancy.storage.limits import MAX_BODY_BYTES, MAX_WHERE_BYTES
from romancy.storage.records import Delivered, Outcome
from romancy.storage.routing import (
    OUTSIDE,
    Interest,
    InterestKind,
    Owner,
    Place,
    Spread,
    address_of_channel,
    address_of_key,
    address_of_type,
)
from romancy_conformance.contract.building import append, change, delivery, joinable, start, unique
from romancy_conformance.contract.routing.scenes import copy, drained, member, post, posting, take
from romancy_conformance.contract.routing.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor
    from romancy_conformance.contract.routing.scenes import Receiver

    Receive = Callable[..., Awaitable[Receiver]]
    Way = Callable[[Actor, list[Append]], Awaitable[list[Outcome]]]

pytestmark = pytest.mark.anyio


async def test_what_an_append_carries_goes_with_it(actor: Actor, store: Store, receive: Receive) -> None:
    for way in WAYS:
        await carry(way, actor, store, receive)


async def carry(way: Way, actor: Actor, store: Store, receive: Receive) -> None:
    """Write appends with interests and messages in this way, and check that both arrive."""
    address, key, channel = unique("e"), unique("k"), unique("c")
    quiet, resting, sender = await receive(), await receive(), await receive()
    await quiet.want(take(key, interest_id="old"))
    message = posting(key, dedupe=unique("d"))
    items = [
        quiet.next(interests=(copy(address), take(key, interest_id="new")), uninterested=("old", "never")),
        resting.next(interests=(member(channel),), change=change(Status.WAITING)),
        sender.next(postings=(message, posting(address, Spread.EVERY), message)),
    ]

    assert await way(actor, items) == [Outcome.ACCEPTED] * 3

    assert [(owner, one.interest_id) for owner, one in await store.services.router.interests(key)] == [
        (quiet.owner, "new")
    ]
    assert [one.kind for _, one in await store.services.router.interests(channel)] == [InterestKind.MEMBER]
    assert await drained(store, address, key, channel) == 2
    assert {row.address for row in await quiet.inbox()} == {address, key}
    assert await store.services.router.post([posting(key, dedupe=message.dedupe)]) == [Delivered.DUPLICATE]


async def test_nothing_of_a_refused_append_is_there(actor: Actor, store: Store, receive: Receive) -> None:
    for way in WAYS:
        await refuse(way, actor, store, receive)


async def refuse(way: Way, actor: Actor, store: Store, receive: Receive) -> None:
    """Write appends that the store refuses in this way, and check that nothing that they carry is there."""
    address = unique("c")
    taken, gone = await receive(), await receive()
    await taken.want(take(address, interest_id="stays"))
    carries: dict[str, Any] = {
        "interests": (copy(address),),
        "uninterested": ("stays",),
        "postings": (posting(address),),
    }
    items = [
        append(taken.begun, 2, **carries),
        append(gone.begun, 2, consumed=("nothing",), **carries),
    ]

    assert await way(actor, items) == [Outcome.TAKEN, Outcome.GONE]

    assert [one.interest_id for _, one in await store.services.router.interests(address)] == ["stays"]
    assert await store.services.router.kept(address=address) == []


@pytest.mark.parametrize("first", [False, True], ids=["append", "first append"])
async def test_what_lies_there_holds_up_no_other_message(
    actor: Actor, store: Store, receive: Receive, *, first: bool
) -> None:
    """Nor does a copy of it with a key hold up another message with that key."""
    for way, together in product(WAYS, (False, True)):
        address, key = unique("k"), unique("d")
        (lies,) = await post(store, address)
        copied, keyed = posting(address, message_id=lies.message_id, dedupe=key), posting(address, dedupe=key)
        plain = posting(address)
        for messages in [(copied, keyed, plain)] if together else [(copied,), (keyed,), (plain,)]:
            item = start(postings=messages) if first else (await receive()).next(postings=messages)
            assert await way(actor, [item]) == [Outcome.ACCEPTED], way

        ids = [one.message_id for one in await store.services.router.kept(address=address)]
        assert ids == sorted([lies.message_id, keyed.message_id, plain.message_id]), (way, together)


async def test_an_append_sent_again_posts_once(actor: Actor, store: Store, receive: Receive) -> None:
    address = unique("k")
    sender, receiver = await receive(), await receive()
    item = sender.next(postings=(posting(address),))
    await receiver.want(take(address))

    assert await actor.write(item) is Outcome.ACCEPTED
    assert await drained(store, address) == 1
    assert await actor.write(item) is Outcome.ACCEPTED

    assert await store.services.router.kept(address=address) == []
    assert len(await receiver.inbox()) == 1


async def test_a_joined_session_posts_with_the_callers_commit(actor: Actor, store: Store, receive: Receive) -> None:
    address = unique("k")
    sender, receiver = await receive(), await receive()
    await receiver.want(take(address))
    message = posting(address, dedupe=unique("d"))

    async with store.services.sessions.begin() as outer, store.services.sessions.join(joinable(actor, outer)) as joined:
        assert await joined.send([], [], [message]) == [Delivered.ACCEPTED]
    assert await drained(store, address) == 0
    async with store.services.sessions.begin() as outer:
        async with store.services.sessions.join(joinable(actor, outer)) as joined:
            mail = delivery(receiver.begun)
            answers = await joined.send([mail, delivery(unique("nobody"))], [], [message, message])
            assert answers == [Delivered.ACCEPTED, Delivered.UNKNOWN, Delivered.ACCEPTED, Delivered.DUPLICATE]
        assert await outer.commit(sender.next(), worker=actor.token) is Outcome.ACCEPTED

    await drained(store, address)  # unless the store itself, which may watch for the commit, was faster
    assert {row.delivery_id for row in await receiver.inbox()} == {mail.delivery_id, message.message_id}


async def test_a_message_posted_again_is_recognised(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    message = posting(address, dedupe=unique("d"))
    same = posting(address, message_id=message.message_id)
    elsewhere = posting(address, message_id=message.message_id, places=(
        Place(unique("e"), Spread.EVERY), Place(address, Spread.ONE),
    ))  # fmt: skip

    assert await store.services.router.post([message, message, same, posting(address)]) == [
        Delivered.ACCEPTED,
        Delivered.DUPLICATE,
        Delivered.DUPLICATE,
        Delivered.ACCEPTED,
    ]
    assert await store.services.router.post([elsewhere]) == [Delivered.DUPLICATE]
    assert await store.services.router.kept(address=elsewhere.places[0].address) == [], "at all its places or at none"
    await receiver.want(take(address), take(address))
    assert await drained(store, address) == 2
    again = posting(address, dedupe=message.dedupe)
    assert await store.services.router.post([again]) == [Delivered.DUPLICATE], "also after it was dispatched"
    assert await store.services.router.post([]) == []


ODD = ["Abc", "abc", "k", "k ", "é", "e", "e\u0301", "a%b", "a_b", "x" * 255, "é" * 127]


async def test_ids_keys_and_addresses_compare_byte_for_byte(store: Store, receive: Receive) -> None:
    kind = unique("t")
    receivers = {name: await receive() for name in ODD}
    for name, one in receivers.items():
        await one.want(take(address_of_key(kind, name), interest_id=name), copy(address_of_type(name), interest_id="c"))
    for name in ODD:
        places = (Place(address_of_key(kind, name), Spread.ONE),)
        assert await store.services.router.post([posting("", places=places, body=name.encode(), message_id=name)]) == [
            "accepted"
        ]

    assert await drained(store, *(address_of_key(kind, name) for name in ODD)) == len(ODD)

    for name, one in receivers.items():
        assert [(row.delivery_id, row.body, row.interest) for row in await one.inbox()] == [(name, name.encode(), name)]
        assert [owner for owner, _ in await store.services.router.interests(address_of_type(name))] == [one.owner]
        await one.write(uninterested=("c",))
        assert await store.services.router.interests(address_of_type(name)) == []
        assert await store.services.router.give_back(one.owner, [name]) == 1


async def test_the_longest_type_and_key_fit_and_any_text_is_a_key(store: Store, receive: Receive) -> None:
    long, receiver = "t" * 255, await receive()
    keys = ["k" * 255, "k" * 256, "", "nul\0", "é" * 4000]
    addresses = [address_of_key(long, key) for key in keys]
    assert len(set(addresses)) == len(keys)
    await receiver.want(*(take(one) for one in addresses))
    for one in addresses:
        await post(store, one)

    assert await drained(store, *addresses) == len(keys)
    assert {row.address for row in await receiver.inbox()} == set(addresses)
    screen = Owner("s" * 255, OUTSIDE)
    assert (
        await store.services.router.register(screen, copy(address_of_channel("c" * 255), interest_id="i" * 255)) is None
    )
    await post(store, address_of_channel("c" * 255), Spread.CHANNEL)
    assert await drained(store, address_of_channel("c" * 255)) == 1
    (letter,) = await store.services.router.letters(screen.name)
    assert await store.services.router.acknowledge(screen.name, [letter.letter_id]) == 1


async def test_bodies_come_back_as_the_bytes_that_were_given(store: Store, receive: Receive) -> None:
    address = unique("k")
    receiver = await receive()
    bodies = [bytes(range(256)), b"", b"\xff\xfe" * 600_000]
    await receiver.want(*(take(address) for _ in bodies))
    assert (
        await store.services.router.post([posting(address, body=body, projection=None) for body in bodies])
        == ["accepted"] * 3
    )
    assert [one.body for one in await store.services.router.kept(address=address)] == bodies

    assert await drained(store, address) == 3

    assert await receiver.bodies() == bodies
    assert (
        await store.services.router.give_back(receiver.owner, [row.delivery_id for row in await receiver.inbox()]) == 3
    )
    assert [one.body for one in await store.services.router.kept(address=address)] == bodies


async def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    actor: Actor, store: Store, receive: Receive
) -> None:
    address = unique("k")
    receiver = await receive()
    fine = posting(address)
    refused = [
        (PayloadTooLargeError, posting(address, body=b"x" * (MAX_BODY_BYTES + 1), projection=None)),
        (UsageError, posting(address, message_id="x" * 256)),
        (UsageError, posting(address, dedupe="")),
        (UsageError, posting("x" * 641)),
        (UsageError, posting("a\0b")),
        (InternalError, posting(address, places=())),
        (InternalError, posting(address, places=(Place(address, Spread.ONE), Place(address, Spread.EVERY)))),
        (InternalError, posting(address, places=(Place(address, Spread.ONE), Place("y", Spread.CHANNEL)))),
    ]
    for error, bad in refused:
        with pytest.raises(error):
            await store.services.router.post([fine, bad])
        with pytest.raises(error):
            await store.commit([append(receiver.begun, 2, postings=(fine, bad))], worker=actor.token)
    wide = Interest(interest_id="i", address=address, kind=InterestKind.TAKE, where=b"x" * (MAX_WHERE_BYTES + 1))
    for error, want in (
        (UsageError, take("x" * 641)),
        (UsageError, take(address, interest_id="")),
        (PayloadTooLargeError, wide),
    ):
        with pytest.raises(error):
            await store.commit([append(receiver.begun, 2, interests=(want,))], worker=actor.token)
        with pytest.raises(error):
            await store.services.router.register(receiver.owner, want)
    assert await store.services.router.kept(address=address) == []
    history = await store.read(receiver.instance_id)
    assert history is not None
    assert len(history.rows) == 1

"""What is kept can be listed, and goes when it is old; letters stay until they are acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import LATEST
from romancy.storage.routing import OUTSIDE, Owner, Place, Spread
from romancy_conformance.contract.building import unique
from romancy_conformance.contract.routing.scenes import Receiver, copy, drained, member, message_id, post, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Receive = Callable[..., Awaitable[Receiver]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]


async def test_what_is_kept_comes_in_pages(store: Store) -> None:
    address, kind = unique("k"), unique("e")
    messages = await post(store, address, count=5)
    both = posting(address, places=(Place(address, Spread.ONE), Place(kind, Spread.EVERY)))
    await store.services.router.post([both])

    first = await store.services.router.kept(address=address, limit=2)
    rest = await store.services.router.kept(address=address, after=first[-1].message_id, limit=10)

    ids = [one.message_id for one in [*messages, both]]
    assert [one.message_id for one in [*first, *rest]] == ids
    assert len(first) == 2
    last = await store.services.router.kept(after=ids[-2], limit=1)
    places = {(one.address, one.spread) for one in last if one.message_id == both.message_id}
    assert places == {(address, Spread.ONE), (kind, Spread.EVERY)}, "a page does not end within a message"
    assert await store.services.router.kept(address=unique("k")) == []


async def test_what_is_kept_is_in_the_order_of_ids_however_it_was_posted(store: Store) -> None:
    address = unique("k")
    messages = [posting(address) for _ in range(5)]
    for number in (3, 0, 4, 2, 1):
        assert await store.services.router.post([messages[number]]) == ["accepted"]

    pages, after = list[list[str]](), ""
    while page := await store.services.router.kept(address=address, after=after, limit=2):
        pages.append([one.message_id for one in page])
        after = page[-1].message_id

    ids = [one.message_id for one in messages]
    assert pages == [ids[:2], ids[2:4], ids[4:]]


async def test_what_is_old_goes_unless_somebody_is_interested(store: Store, receive: Receive) -> None:
    old, wanted, joined = unique("k"), unique("k"), unique("c")
    receiver = await receive()
    await receiver.want(take(wanted, {"n": -1}), member(joined))
    await post(store, old, count=3)
    await post(store, wanted)
    await post(store, joined, Spread.CHANNEL)
    (*_, newest) = await store.services.router.kept(address=old)

    assert await store.services.router.expire(newest.at) == 2
    assert await store.services.router.kept(address=old) == [newest]
    assert await store.services.router.expire(LATEST, limit=1) == 1
    assert await store.services.router.expire(LATEST) == 0
    assert len(await store.services.router.kept(address=wanted)) == 1
    assert len(await store.services.router.kept(address=joined)) == 1

    await receiver.write(
        uninterested=tuple(one.interest_id for _, one in await store.services.router.interests(wanted))
    )
    assert await store.services.router.expire(LATEST) == 1


async def test_letters_come_in_the_order_of_dispatch_until_they_are_acknowledged(store: Store) -> None:
    """Whatever the order of the messages' ids."""
    kind, key = unique("e"), unique("k")
    screen, other = Owner(unique("screen"), OUTSIDE), Owner(unique("screen"), OUTSIDE)
    await store.services.router.register(screen, copy(kind))
    await store.services.router.register(other, copy(kind))
    bodies: list[bytes] = []
    ids = sorted((message_id() for _ in range(6)), reverse=True)
    for number in range(3):
        await store.services.router.post(
            [posting(kind, Spread.EVERY, b'{"n":%d}' % number, message_id=ids[2 * number])]
        )
        await store.services.router.register(screen, take(key))
        await store.services.router.post(
            [posting(key, Spread.ONE, b'{"k":%d}' % number, message_id=ids[2 * number + 1])]
        )
        assert await drained(store, kind) == 2
        assert await drained(store, key) == 1
        bodies += [b'{"n":%d}' % number, b'{"k":%d}' % number]

    letters = await store.services.router.letters(screen.name)
    assert sorted(one.body for one in letters) == sorted(bodies)
    assert [one.body for one in letters if one.address == kind] == bodies[::2]
    assert [one.body for one in letters if one.address == key] == bodies[1::2]
    assert [one.at for one in letters] == sorted(one.at for one in letters)
    assert await store.services.router.letters(screen.name, limit=2) == letters[:2]

    gone = [one.letter_id for one in letters[:2]]
    assert await store.services.router.acknowledge(screen.name, [*gone, "another"]) == 2
    assert await store.services.router.acknowledge(screen.name, gone) == 0
    assert await store.services.router.letters(screen.name) == letters[2:]
    assert len(await store.services.router.letters(other.name)) == 3
    assert await store.services.router.acknowledge(screen.name, []) == 0


async def test_letters_of_who_wants_nothing_more_go_when_they_are_old(actor: Actor, store: Store) -> None:
    """Also while an instance of the same name wants something."""
    kind = unique("e")
    left, stays = Owner(unique("screen"), OUTSIDE), Owner(unique("screen"), OUTSIDE)
    for one in (left, stays):
        await store.services.router.register(one, copy(kind, interest_id="i"))
    await post(store, kind, Spread.EVERY)
    assert await drained(store, kind) == 2
    await store.services.router.unregister(left, ["i"])
    await Receiver(actor, await actor.begin(left.name)).want(copy(unique("e")))
    assert len(await store.services.router.letters(left.name)) == 1, "what it was given stays"

    assert await store.services.router.expire(0) == 0
    assert await store.services.router.expire(LATEST) == 1

    assert await store.services.router.letters(left.name) == []
    assert len(await store.services.router.letters(stays.name)) == 1


async def test_of_letters_only_those_go_that_are_old_and_in_portions(store: Store) -> None:
    kind, screen = unique("e"), Owner(unique("screen"), OUTSIDE)
    await store.services.router.register(screen, copy(kind, interest_id="i"))
    for _ in range(4):
        await post(store, kind, Spread.EVERY)
        assert await drained(store, kind) == 1
    letters = await store.services.router.letters(screen.name)
    await store.services.router.unregister(screen, ["i"])

    assert await store.services.router.expire(letters[-1].at, limit=2) == 2
    assert await store.services.router.expire(letters[-1].at, limit=2) == 1

    assert await store.services.router.letters(screen.name) == letters[-1:]


async def test_a_sweep_does_what_a_crash_left_undone(store: Store, receive: Receive) -> None:
    key, kind, unwanted = unique("k"), unique("e"), unique("e")
    receiver = await receive()
    await receiver.want(take(key), copy(kind))
    await post(store, key, count=2)
    await post(store, kind, Spread.EVERY)
    await post(store, unwanted, Spread.EVERY)

    assert await drained(store) == 2

    assert len(await receiver.inbox()) == 2
    assert await store.services.router.kept(address=unwanted) == []
    assert len(await store.services.router.kept(address=key)) == 1
    assert await drained(store) == 0

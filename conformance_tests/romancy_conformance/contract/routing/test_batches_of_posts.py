"""Postings of one batch are judged one after the other, as if each were sent by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.storage.records import Outcome
from romancy.storage.routing import Place, Spread
from romancy_conformance.contract.building import append, start, unique
from romancy_conformance.contract.routing.scenes import posting

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.routing import Posting
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio


async def bodies_at(store: Store, address: str) -> list[bytes]:
    return [one.body for one in await store.services.router.kept(address=address)]


def two(one: str, other: str) -> tuple[Posting, Posting]:
    """Messages of one id that have one address in common."""
    first = posting(one, body=b'"first"')
    both = (Place(one, Spread.ONE), Place(other, Spread.EVERY))
    return first, replace(first, places=both, body=b'"second"')


@pytest.mark.parametrize("wide_first", [False, True])
async def test_of_two_messages_with_one_id_the_second_is_kept_nowhere(store: Store, *, wide_first: bool) -> None:
    """It is kept at all of its places or at none, and at one of them the first is kept."""
    one, other = unique("a"), unique("b")
    batch = two(one, other)[:: -1 if wide_first else 1]

    assert await store.services.router.post(batch) == ["accepted", "duplicate"]

    assert await bodies_at(store, one) == [batch[0].body]
    assert await bodies_at(store, other) == ([batch[0].body] if wide_first else [])


async def test_a_message_that_is_refused_for_its_id_uses_no_key(store: Store) -> None:
    address, key = unique("a"), unique("k")
    first = posting(address)
    copy, other = replace(first, dedupe=key), posting(address, dedupe=key)

    assert await store.services.router.post([first, copy]) == ["accepted", "duplicate"]
    assert await store.services.router.post([other]) == ["accepted"]


async def test_each_of_several_with_one_id_meets_what_is_kept(store: Store) -> None:
    """The second is refused, so the third meets nothing at its address."""
    one, other = unique("a"), unique("b")
    first, second = two(one, other)
    third = replace(first, places=(Place(other, Spread.ONE),), body=b'"third"')

    assert await store.services.router.post([first, second, third]) == ["accepted", "duplicate", "accepted"]

    assert await bodies_at(store, other) == [b'"third"']


async def test_of_messages_with_one_key_the_first_is_kept(store: Store) -> None:
    """Not one that lies there already: that uses no key."""
    address, key = unique("a"), unique("k")
    there = posting(address)
    assert await store.services.router.post([there]) == ["accepted"]
    batch = [replace(there, dedupe=key), *(posting(address, body=b"%d" % number, dedupe=key) for number in range(3))]

    assert await store.services.router.post(batch) == ["duplicate", "accepted", "duplicate", "duplicate"]

    assert await bodies_at(store, address) == [there.body, b"0"]


@pytest.mark.parametrize("road", ["an append", "a first append", "a session"])
async def test_of_two_messages_with_one_id_that_an_append_posts_too(actor: Actor, store: Store, road: str) -> None:
    one, other, begun = unique("a"), unique("b"), await actor.begin()
    batch = two(one, other)
    if road == "a session":
        async with store.services.sessions.begin() as session:
            item = append(begun, 2, after=begun.writer, postings=batch)
            assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED
    else:
        item = append(begun, 2, postings=batch) if road == "an append" else start(delay=None, postings=batch)
        assert await actor.write(item) is Outcome.ACCEPTED

    assert await bodies_at(store, one) == [batch[0].body]
    assert await bodies_at(store, other) == []

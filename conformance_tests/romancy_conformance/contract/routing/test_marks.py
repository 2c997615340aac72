"""What a dispatch has compared is marked, and only that: what it has not compared is not passed over later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.routing import OUTSIDE, Owner
from romancy_conformance.contract.building import unique
from romancy_conformance.contract.interleaving import play
from romancy_conformance.contract.routing.scenes import drained, message_id, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.routing import Interest, Posting

    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]


def numbered(address: str, number: int, **fields: Any) -> Posting:
    return posting(address, body=b'{"n":%d}' % number, **fields)


def outsider() -> Owner:
    return Owner(unique("s"), OUTSIDE)


async def test_of_messages_posted_together_each_is_compared(store: Store) -> None:
    """They have one time. A dispatch that reads one of them marks no other."""
    router, owner, address = store.services.router, outsider(), unique("k")
    await router.register(owner, take(address, {"n": 7}))
    await router.post([numbered(address, number) for number in (1, 2, 3, 7)])

    assert await drained(store, address, limit=1) == 1

    assert [one.body for one in await router.letters(owner.name)] == [b'{"n":7}']


async def test_a_message_at_another_address_is_not_compared_with_it(store: Store) -> None:
    """Although it has the same id, and was posted at the same time."""
    router, owner, here, there, same = store.services.router, outsider(), unique("k"), unique("k"), message_id()
    await router.register(owner, take(here, {"n": 1}))
    await router.register(outsider(), take(there, {"n": 1}))
    await router.post([numbered(here, 2, message_id=same), numbered(there, 2, message_id=same)])
    assert await drained(store, here) == 0

    await router.register(owner, take(there, {"n": 2}))

    assert await drained(store, there) == 1


async def test_an_interest_at_another_address_is_not_compared_with_what_is_here(store: Store) -> None:
    """Although one owner has both. What lies there was compared with others before."""
    router, owner, here, there = store.services.router, outsider(), unique("k"), unique("k")
    await router.register(outsider(), take(there, {"n": 9}))
    await router.post([numbered(there, 2), numbered(here, 5)])
    assert await drained(store, there) == 0
    await router.register(owner, take(here, {"n": 1}))
    await router.register(owner, take(there, {"n": 2}))

    assert await drained(store, here) == 0
    assert await drained(store, there) == 1


@pytest.mark.parametrize("other", ["owner", "id", "condition", "address"])
async def test_an_interest_that_comes_while_others_are_compared_is_compared_too(
    store: Store, other_store: Store, other: str
) -> None:
    """Whatever tells it from one that is being compared. Its message was compared with others before."""

    async def scenario() -> Scene:
        router, owner, address, elsewhere, name = (
            store.services.router,
            outsider(),
            unique("k"),
            unique("k"),
            unique("w"),
        )
        late: dict[str, tuple[Owner, Interest]] = {
            "owner": (outsider(), take(address, {"n": 2}, interest_id=name)),
            "id": (owner, take(address, {"n": 2})),
            "condition": (owner, take(address, {"n": 2}, interest_id=name)),
            "address": (owner, take(elsewhere, {"n": 2}, interest_id=name)),
        }
        await router.register(outsider(), take(elsewhere, {"n": 9}))
        await router.register(owner, take(address, {"n": 1}, interest_id=name))
        await router.post([numbered(address, 2), numbered(elsewhere, 2)])
        assert await drained(store, elsewhere) == 0
        receiver, interest = late[other]

        async def check(_: Any, __: Any) -> None:
            await drained(store, interest.address)
            assert [one.body for one in await router.letters(receiver.name)] == [b'{"n":2}']

        return drained(store, address), other_store.services.router.register(receiver, interest), check

    await play(store, scenario)

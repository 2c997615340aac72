"""Interests of one id, of owners of one life, or of one name inside and outside: each is met and removed by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.routing import OUTSIDE, Owner, Spread
from romancy_conformance.contract.building import change, unique
from romancy_conformance.contract.routing.scenes import Receiver, copy, drained, post, posting, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store
    from romancy.storage.routing import Interest
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio

LIFE = 7


class Crowd:
    """Two instances of one life, an outsider with the name of the first, and one with another name."""

    def __init__(self, store: Store, first: Receiver, second: Receiver) -> None:
        self.store = store
        self.inside = [first, second]
        self.outside = [Owner(first.instance_id, OUTSIDE), Owner(unique("screen"), OUTSIDE)]

    @property
    def owners(self) -> list[Owner]:
        return [*(one.owner for one in self.inside), *self.outside]

    async def want(self, interest: Interest) -> None:
        for owner in self.owners:
            assert await self.store.services.router.register(owner, interest) is None

    async def bodies(self) -> list[list[bytes]]:
        """What each of them has got so far."""
        letters = [await self.store.services.router.letters(one.name) for one in self.outside]
        return [await one.bodies() for one in self.inside] + [[one.body for one in each] for each in letters]

    async def wanting(self, address: str) -> set[Owner]:
        return {owner for owner, _ in await self.store.services.router.interests(address)}


@pytest.fixture
async def crowd(store: Store, actor: Actor) -> Crowd:
    """The crowd, of which nobody wants anything yet."""
    first, second = [Receiver(actor, await actor.begin(life=LIFE)) for _ in range(2)]
    return Crowd(store, first, second)


async def test_each_message_has_one_taker_of_many_with_equal_names(store: Store, crowd: Crowd) -> None:
    address, elsewhere = unique("k"), unique("k")
    await crowd.want(take(address, interest_id="want"))
    await crowd.want(take(elsewhere, interest_id="other"))
    bodies = [b'{"n":%d}' % number for number in range(5)]

    for number in range(4):
        message = posting(address, body=bodies[number])
        await store.services.router.post([message])
        assert await drained(store, address) == 1
        assert await crowd.bodies() == [[bodies[place]] if place <= number else [] for place in range(4)]
        assert await crowd.wanting(address) == set(crowd.owners[number + 1 :])
        assert await crowd.wanting(elsewhere) == set(crowd.owners)

    await post(store, address)
    assert await drained(store, address) == 0
    assert len(await store.services.router.kept(address=address)) == 1


async def test_several_messages_at_once_have_a_taker_each(store: Store, crowd: Crowd) -> None:
    """One id may lie at two addresses."""
    address, elsewhere = unique("k"), unique("k")
    await crowd.want(take(address, interest_id="want"))
    await crowd.want(take(elsewhere, interest_id="other"))
    messages = await post(store, address, count=3)
    await store.services.router.post([posting(elsewhere, message_id=messages[0].message_id, body=b'"elsewhere"')])

    assert await drained(store, address) == 3

    assert await crowd.bodies() == [*([one.body] for one in messages), []]
    assert [one.body for one in await store.services.router.kept(address=elsewhere)] == [b'"elsewhere"']
    assert await crowd.wanting(elsewhere) == set(crowd.owners)


async def test_each_of_many_with_equal_names_gets_one_copy(store: Store, crowd: Crowd) -> None:
    address, elsewhere = unique("e"), unique("e")
    await crowd.want(copy(address, interest_id="hear"))
    await crowd.want(copy(elsewhere, interest_id="other"))
    messages = await post(store, address, Spread.EVERY, count=2)

    assert await drained(store, address) == 8

    assert await crowd.bodies() == [[one.body for one in messages]] * 4
    assert await crowd.wanting(address) == set(crowd.owners)


async def test_who_has_a_condition_is_compared_by_itself(store: Store, crowd: Crowd) -> None:
    address = unique("k")
    for number, owner in enumerate(crowd.owners):
        await store.services.router.register(owner, take(address, {"n": number}, "want"))
    await post(store, address)
    assert await drained(store, address) == 1
    assert await drained(store, address) == 0

    for number in (3, 1):
        await store.services.router.post([posting(address, body=b'{"n":%d}' % number)])
        assert await drained(store, address) == 1

    assert await crowd.bodies() == [[b'{"n":0}'], [b'{"n":1}'], [], [b'{"n":3}']]
    assert await crowd.wanting(address) == {crowd.owners[2]}
    await store.services.router.register(crowd.owners[2], take(address, {"n": 5}, "want"))
    await store.services.router.post([posting(address, body=b'{"n":5}')])
    assert await drained(store, address) == 1
    assert (await crowd.bodies())[2] == [b'{"n":5}']


@pytest.mark.parametrize("how", ["unregistered", "in an append"])
async def test_one_that_goes_leaves_the_others(store: Store, crowd: Crowd, how: str) -> None:
    address = unique("k")
    await crowd.want(take(address, interest_id="want"))
    await crowd.want(take(address, interest_id="other"))

    if how == "unregistered":
        await store.services.router.unregister(crowd.owners[0], ["want"])
    else:
        await crowd.inside[0].write(uninterested=("want",))

    left = [(owner, one.interest_id) for owner, one in await store.services.router.interests(address)]
    assert len(left) == 7
    assert (crowd.owners[0], "want") not in left


@pytest.mark.parametrize("interest", [take, copy], ids=["taken", "copied"])
async def test_who_has_ended_gets_nothing(store: Store, crowd: Crowd, interest: Callable[..., Interest]) -> None:
    """Although others of the same life go on."""
    address = unique("k")
    await crowd.want(interest(address, interest_id="want"))
    await crowd.inside[0].change(change(Status.COMPLETED))
    spread = Spread.ONE if interest is take else Spread.EVERY

    await post(store, address, spread, count=4)
    assert await drained(store, address) == (3 if interest is take else 12)

    got = await crowd.bodies()
    assert got[0] == []
    assert [len(one) for one in got[1:]] == [1 if interest is take else 4] * 3


async def test_what_one_gives_back_another_keeps(store: Store, crowd: Crowd) -> None:
    """Messages of one id lay at two addresses, and each was taken by somebody else."""
    address, elsewhere = unique("k"), unique("k")
    first, second = crowd.inside
    await first.want(take(address))
    await second.want(take(elsewhere))
    (message,) = await post(store, address)
    await store.services.router.post([posting(elsewhere, message_id=message.message_id, body=b'"elsewhere"')])
    assert await drained(store, address, elsewhere) == 2

    assert await store.services.router.give_back(first.owner, [message.message_id]) == 1

    assert await crowd.bodies() == [[], [b'"elsewhere"'], [], []]
    assert [one.message_id for one in await store.services.router.kept(address=address)] == [message.message_id]
    assert await store.services.router.kept(address=elsewhere) == []

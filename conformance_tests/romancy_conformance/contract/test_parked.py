"""An instance that is stuck rests until other code takes it up: no message makes it due."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.records import Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, joinable, start, unique
from romancy_conformance.contract.routing.scenes import Receiver, drained, post, take

if TYPE_CHECKING:
    from romancy.storage.records import Delivery, InstanceRow
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio

ROADS = ("by itself", "with an append", "with a first append", "with a joined session", "from an address")


async def counted(actor: Actor, instance_id: str) -> InstanceRow:
    """The row of an instance, once its message is counted: a joined session's is after the commit."""
    while True:
        found = await actor.store.read(instance_id, limit=0)
        assert found is not None
        if found.instance.signals:
            return found.instance
        await asyncio.sleep(0.01)


async def sent(actor: Actor, mail: Delivery, road: str) -> None:
    """Send a message this way."""
    if road == "by itself":
        assert await actor.store.deliver([mail]) == [Delivered.ACCEPTED]
    elif road == "with an append":
        item = append(await actor.begin(), 2, deliveries=(mail,), starts=(start(delay=None),))
        assert await actor.write(item) is Outcome.ACCEPTED
    elif road == "with a first append":
        assert await actor.write(start(delay=None, deliveries=(mail,))) is Outcome.ACCEPTED
    else:
        async with actor.store.services.sessions.begin() as outer:
            async with actor.store.services.sessions.join(joinable(actor, outer)) as joined:
                assert await joined.send([mail]) == [Delivered.ACCEPTED]
            assert await outer.commit(start(delay=None)) is Outcome.ACCEPTED


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("status", [Status.STUCK, Status.PAUSED, Status.WAITING])
async def test_a_message_wakes_one_that_waits_and_not_one_that_is_stuck_or_paused(
    actor: Actor, road: str, status: Status
) -> None:
    receiver, address = Receiver(actor, await actor.begin()), unique("k")
    await receiver.want(take(address))
    rests: dict[str, Any] = {"refused_by": "c1"} if status is Status.STUCK else {}
    await receiver.change(change(status, release=True, **rests))

    if road == "from an address":
        await post(actor.store, address)
        assert await drained(actor.store, address) == 1
    else:
        await sent(actor, delivery(receiver.begun), road)

    found = await counted(actor, receiver.instance_id)
    assert (found.signals, found.wake_at is None) == (1, status is not Status.WAITING)


async def test_a_sweep_leaves_one_that_is_stuck_to_other_code_although_it_has_mail(actor: Actor) -> None:
    begun = await actor.begin()
    rests = change(Status.STUCK, release=True, refused_by="c1")
    assert await actor.write(append(begun, 2, change=rests)) is Outcome.ACCEPTED
    assert await actor.store.deliver([delivery(begun)]) == [Delivered.ACCEPTED]

    assert await actor.claim(sweep=True) == []
    assert await actor.claim() == []


async def test_a_sweep_leaves_one_that_is_paused_asleep_although_it_has_mail(actor: Actor) -> None:
    begun = await actor.begin()
    assert await actor.write(append(begun, 2, change=change(Status.PAUSED, release=True))) is Outcome.ACCEPTED
    assert await actor.store.deliver([delivery(begun)]) == [Delivered.ACCEPTED]

    assert await actor.claim(sweep=True) == []
    assert await actor.claim() == []


async def test_one_that_is_paused_before_its_owner_has_seen_its_mail_is_due_at_once(actor: Actor) -> None:
    """What came meanwhile may take the pause back."""
    begun = await actor.begin()
    assert await actor.store.deliver([delivery(begun)]) == [Delivered.ACCEPTED]
    assert await actor.write(append(begun, 2, change=change(Status.PAUSED, release=True))) is Outcome.ACCEPTED

    (claimed,) = await actor.claim()
    assert (claimed.instance_id, claimed.status) == (begun.instance_id, Status.PAUSED)


@pytest.mark.parametrize("road", ROADS)
async def test_a_message_makes_nothing_due_that_is_owned(actor: Actor, road: str) -> None:
    """Its owner learns of it by the counter. It would be claimed by another one."""
    receiver, address = Receiver(actor, await actor.begin()), unique("k")
    await receiver.want(take(address))

    if road == "from an address":
        await post(actor.store, address)
        assert await drained(actor.store, address) == 1
    else:
        await sent(actor, delivery(receiver.begun), road)

    found = await counted(actor, receiver.instance_id)
    assert (found.owner, found.signals, found.wake_at) == (actor.token, 1, None)

"""Messages of one id in several inboxes, and several in one: each is judged, counted and taken by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.outbox import OutboxRow
from romancy.storage.records import ClaimRequest, Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, joinable, lookups_of, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.records import Append, Delivery
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio

ROADS = ("by itself", "in a session", "with an append", "with a first append")


async def answers(actor: Actor, road: str, *mail: Delivery) -> Sequence[Delivered]:
    """Send messages this way. An append tells no answers."""
    store = actor.store
    if road == "by itself":
        return await store.deliver(mail)
    if road == "in a session":
        async with store.services.sessions.begin() as outer:
            async with store.services.sessions.join(joinable(actor, outer)) as joined:
                told = await joined.send(mail)
            assert await outer.commit(start(delay=None)) is Outcome.ACCEPTED
        return told
    if road == "with an append":
        mine = await actor.begin()
        assert await actor.write(append(mine, 2, deliveries=mail, starts=(start(delay=None),))) is Outcome.ACCEPTED
    else:
        assert await actor.write(start(delay=None, deliveries=mail)) is Outcome.ACCEPTED
    return ()


async def ids_of(actor: Actor, begun: Append) -> list[str]:
    """What lies in the inbox, once it is counted."""
    known = {begun.instance_id: -1}
    work = await actor.store.claim(
        ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0, known=known, sweep=True)
    )
    return [row.delivery_id for box in work.mail if box.instance_id == begun.instance_id for row in box.rows]


async def signals_of(actor: Actor, begun: Append) -> int:
    found = await actor.store.read(begun.instance_id, limit=0)
    assert found is not None
    return found.instance.signals


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("dedupe", [None, "key"])
async def test_an_id_in_another_inbox_is_no_duplicate(actor: Actor, road: str, dedupe: str | None) -> None:
    first, second = await actor.begin(), await actor.begin()
    mail = delivery(first, dedupe=dedupe)
    assert await actor.store.deliver([mail]) == [Delivered.ACCEPTED]

    told = await answers(actor, road, mail, replace(mail, instance_id=second.instance_id))

    assert told in ((), [Delivered.DUPLICATE, Delivered.ACCEPTED])
    assert await ids_of(actor, second) == [mail.delivery_id]
    assert await ids_of(actor, first) == [mail.delivery_id]


@pytest.mark.parametrize("road", ROADS)
async def test_each_of_several_for_one_inbox_gets_its_own_answer(actor: Actor, road: str) -> None:
    target, ended = await actor.begin(), await actor.begin()
    assert await actor.write(append(ended, 2, change=change(Status.COMPLETED))) is Outcome.ACCEPTED
    there, one, other = (delivery(target) for _ in range(3))
    assert await actor.store.deliver([there]) == [Delivered.ACCEPTED]

    told = await answers(actor, road, one, there, delivery(ended), other, one)

    assert told in (
        (),
        [Delivered.ACCEPTED, Delivered.DUPLICATE, Delivered.CLOSED, Delivered.ACCEPTED, Delivered.DUPLICATE],
    )
    assert await ids_of(actor, target) == sorted([there.delivery_id, one.delivery_id, other.delivery_id])
    if road != "in a session":  # the counter moves after the commit
        assert [await signals_of(actor, one) for one in (target, ended)] == [3, 0]
    lying = await lookups_of(actor.store).lying(ended.instance_id, after=(ended.instance_id, ""))
    assert lying == []


@pytest.mark.parametrize("road", ROADS)
async def test_a_message_that_lies_there_uses_no_key(actor: Actor, road: str) -> None:
    """It came without one, and is sent again with one: the key is free for another message."""
    target, key = await actor.begin(), unique("key")
    there = delivery(target)
    assert await actor.store.deliver([there]) == [Delivered.ACCEPTED]

    await answers(actor, road, replace(there, dedupe=key))
    other = delivery(target, dedupe=key)
    told = await answers(actor, road, other)

    assert told in ((), [Delivered.ACCEPTED])
    assert await ids_of(actor, target) == sorted([there.delivery_id, other.delivery_id])


@pytest.mark.parametrize("road", ROADS)
async def test_a_key_that_was_used_holds_up_its_message_and_no_other(actor: Actor, road: str) -> None:
    """Although the message that used it was consumed."""
    target, key = await actor.begin(), unique("key")
    used, late, other = delivery(target, dedupe=key), delivery(target, dedupe=key), delivery(target)
    assert await actor.store.deliver([used]) == [Delivered.ACCEPTED]
    assert await actor.write(append(target, 2, consumed=(used.delivery_id,))) is Outcome.ACCEPTED

    told = await answers(actor, road, late, other)

    assert told in ((), [Delivered.DUPLICATE, Delivered.ACCEPTED])
    assert await ids_of(actor, target) == [other.delivery_id]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("first_key", [None, "first"])
async def test_of_two_with_one_id_that_are_sent_together_the_second_uses_no_key(
    actor: Actor, road: str, first_key: str | None
) -> None:
    target, key = await actor.begin(), unique("key")
    first = delivery(target, dedupe=first_key)

    told = await answers(actor, road, first, replace(first, dedupe=key, body=b"2"))
    other = delivery(target, dedupe=key)
    assert told in ((), [Delivered.ACCEPTED, Delivered.DUPLICATE])
    told = await answers(actor, road, other)

    assert told in ((), [Delivered.ACCEPTED])
    assert await ids_of(actor, target) == sorted([first.delivery_id, other.delivery_id])


def outgoing(by: Append) -> OutboxRow:
    return OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}", instance_id=by.instance_id)


@pytest.mark.parametrize("more", ["nothing else", "a change", "effects"])
async def test_what_an_append_takes_goes_and_nothing_else(actor: Actor, more: str) -> None:
    """Neither another message of the same inbox, nor the same id in another one."""
    mine, other = await actor.begin(), await actor.begin()
    taken, left = delivery(mine), delivery(mine)
    elsewhere = replace(taken, instance_id=other.instance_id)
    assert await actor.store.deliver([taken, left, elsewhere]) == [Delivered.ACCEPTED] * 3
    effects: dict[str, Any] = {"a change": {"change": change(seen=2)}, "effects": {"outbox": (outgoing(mine),)}}

    item = append(mine, 2, consumed=(taken.delivery_id,), **effects.get(more, {}))
    assert await actor.write(item) is Outcome.ACCEPTED

    assert await ids_of(actor, mine) == [left.delivery_id]
    assert await ids_of(actor, other) == [elsewhere.delivery_id]


@pytest.mark.parametrize("more", ["nothing else", "effects"])
async def test_what_a_refused_append_of_a_batch_would_take_stays(actor: Actor, more: str) -> None:
    good, bad = await actor.begin(), await actor.begin()
    mail = [delivery(good), delivery(bad)]
    assert await actor.store.deliver(mail) == [Delivered.ACCEPTED] * 2
    batch = [
        append(
            begun, seq, consumed=(one.delivery_id,), change=change(seen=1), after=begun.writer,
            outbox=(outgoing(begun),) if more == "effects" else (),
        )
        for begun, one, seq in zip((good, bad), mail, (2, 3), strict=True)
    ]  # fmt: skip

    outcomes = await actor.store.commit(batch, worker=actor.token)

    assert [Outcome.ACCEPTED, Outcome.LOST] == outcomes
    assert [await ids_of(actor, one) for one in (good, bad)] == [[], [mail[1].delivery_id]]


async def test_a_dead_worker_writes_no_batch_of_steps(actor: Actor, hire: Callable[..., Awaitable[Actor]]) -> None:
    """Although another one lives."""
    await hire()
    begun = [await actor.begin() for _ in range(4)]
    await actor.store.leave(actor.worker)

    outcomes = await actor.store.commit([step(one, 2, after=one.writer) for one in begun], worker=actor.token)

    assert outcomes == [Outcome.DEAD] * 4
    for one in begun:
        found = await actor.store.read(one.instance_id)
        assert found is not None
        assert len(found.rows) == 1

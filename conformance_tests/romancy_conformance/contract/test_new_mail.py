"""Much mail: a worker that keeps old messages gets only new ones, and misses none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.storage.mail import UNCOUNTED
from romancy.storage.records import ClaimRequest, Delivered
from romancy_conformance.contract.building import append, change, delivery, start
from romancy_conformance.contract.interleaving import play

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Delivery, Mailbox, Work
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = pytest.mark.anyio


async def claimed(actor: Actor, kept: dict[str, int], *, limit: int = 0, recover: bool = False) -> Work:
    """Make one claim, for a worker that keeps this much mail."""
    request = ClaimRequest(
        worker=actor.token, codes=actor.workflows, limit=limit, recover=recover, known=dict(kept), kept=kept
    )
    return await actor.store.claim(request)


async def mailbox(actor: Actor, begun: Append, kept: int, *, recover: bool = False) -> Mailbox | None:
    """Return the mail of one instance, as the claim returns it."""
    work = await claimed(actor, {begun.instance_id: kept} if kept else {}, recover=recover)
    return next((box for box in work.mail if box.instance_id == begun.instance_id), None)


async def sent(store: Store, begun: Append, count: int) -> list[Delivery]:
    """Send so many messages, one at a time."""
    mail = [delivery(begun, b'{"n":%d}' % number) for number in range(count)]
    for one in mail:
        assert await store.deliver([one]) == [Delivered.ACCEPTED]
    return mail


def ids(box: Mailbox | None) -> list[str]:
    assert box is not None
    return [row.delivery_id for row in box.rows]


def sent_ids(mail: list[Delivery]) -> list[str]:
    return [one.delivery_id for one in mail]


@pytest.fixture
async def numbered(actor: Actor, store: Store, request: pytest.FixtureRequest) -> None:
    """Skip the test if an adapter of others brings whole mailboxes, which it may."""
    begun = await actor.begin()
    await sent(store, begun, 2)
    box = await mailbox(actor, begun, 1)
    if request.config.getoption("--storage-url") and box is not None and (len(box.rows), box.after) == (2, 0):
        pytest.skip("capability: the store brings whole mailboxes")


@pytest.mark.usefixtures("numbered")
async def test_only_what_is_new_is_brought_to_who_keeps_the_rest(actor: Actor, store: Store) -> None:
    begun, other = await actor.begin(), await actor.begin()
    old = await sent(store, begun, 3)
    box = await mailbox(actor, begun, 0)
    assert (ids(box), box and box.signals, box and box.after) == (sent_ids(old), 3, 0)

    assert await mailbox(actor, begun, 3) is None
    new = await sent(store, begun, 3)
    more = await sent(store, other, 2)
    boxes = {one.instance_id: one for one in (await claimed(actor, {begun.instance_id: 3})).mail}

    box = boxes[begun.instance_id]
    assert (ids(box), box.signals, box.after) == (sent_ids(new), 6, 3)
    assert (ids(boxes[other.instance_id]), boxes[other.instance_id].after) == (sent_ids(more), 0)


@pytest.mark.usefixtures("numbered")
async def test_a_batch_to_one_is_brought_together(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await sent(store, begun, 1)
    batch = [delivery(begun) for _ in range(3)]
    assert await store.deliver(batch) == [Delivered.ACCEPTED] * 3

    assert ids(await mailbox(actor, begun, 1)) == sent_ids(batch)


@pytest.mark.usefixtures("numbered")
async def test_a_delivery_by_a_commit_is_new_like_any_other(actor: Actor, store: Store) -> None:
    begun, sender = await actor.begin(), await actor.begin()
    await sent(store, begun, 2)
    first, second = delivery(begun), delivery(begun)
    assert await actor.write(append(sender, 2, deliveries=(first,))) == "accepted"
    assert await actor.write(append(sender, 3, change=change(), deliveries=(second,))) == "accepted"

    assert ids(await mailbox(actor, begun, 2)) == sent_ids([first, second])
    assert ids(await mailbox(actor, begun, 3)) == [second.delivery_id]


@pytest.mark.usefixtures("numbered")
async def test_what_is_consumed_does_not_shift_what_is_new(actor: Actor, store: Store) -> None:
    """A commit consumes messages from the middle; the counter, and so what is new, does not change."""
    begun = await actor.begin()
    old = await sent(store, begun, 4)
    taken = (old[1].delivery_id, old[3].delivery_id)
    assert await actor.write(append(begun, 2, consumed=taken, change=change(seen=4))) == "accepted"
    new = await sent(store, begun, 2)

    assert ids(await mailbox(actor, begun, 4)) == sent_ids(new)
    assert ids(await mailbox(actor, begun, 0)) == sent_ids([old[0], old[2], *new])
    assert await actor.write(append(begun, 3, consumed=(new[0].delivery_id,), change=change(seen=5))) == "accepted"
    assert ids(await mailbox(actor, begun, 4)) == [new[1].delivery_id]


async def test_who_does_not_keep_it_gets_everything(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    mail = await sent(store, begun, 5)

    for recover in (False, True):
        box = await mailbox(actor, begun, 0, recover=recover)
        assert (ids(box), box and box.after) == (sent_ids(mail), 0)


async def test_what_is_recovered_comes_whole_whatever_is_kept(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    mail = await sent(store, begun, 4)

    box = await mailbox(actor, begun, 3, recover=True)

    assert (ids(box), box and box.after) == (sent_ids(mail), 0)


async def test_what_is_claimed_comes_whole_whatever_is_kept(actor: Actor, store: Store, hire: Hire) -> None:
    """The instance was released and is claimed again, by the same worker or by another one."""
    begun = await actor.begin()
    mail = await sent(store, begun, 3)
    sleep = append(begun, 2, change=change(seen=3, release=True, wake_at=1))
    assert await actor.write(sleep) == "accepted"

    work = await claimed(actor, {begun.instance_id: 2}, limit=5)
    assert [one.instance_id for one in work.claimed] == [begun.instance_id]
    assert [(ids(box), box.after) for box in work.mail] == [(sent_ids(mail), 0)]

    assert await actor.write(append(begun, 3, change=change(seen=3, release=True, wake_at=1))) == "accepted"
    other = await hire()
    work = await claimed(other, {}, limit=5)
    assert [(ids(box), box.after) for box in work.mail] == [(sent_ids(mail), 0)]


async def test_a_counter_that_has_gone_back_brings_everything(actor: Actor, store: Store) -> None:
    """The database was restored to an earlier state: it assigns the same numbers again, so they prove nothing."""
    begun = await actor.begin()
    mail = await sent(store, begun, 3)

    box = await mailbox(actor, begun, 40)

    assert (ids(box), box and box.after) == (sent_ids(mail), 0)


async def test_mail_of_a_session_is_not_left_out(actor: Actor, store: Store) -> None:
    """It is counted after the commit that delivered it; then it is new for a worker that keeps all earlier mail."""
    begun, other, sender = [await actor.begin() for _ in range(3)]
    await sent(store, begun, 2)
    posted = [delivery(one) for one in (begun, begun, other)]
    async with store.services.sessions.begin() as session:
        later = await sent(store, begun, 1) if not store.capabilities.sessions_exclude else []
        assert await session.commit(append(sender, 2, deliveries=tuple(posted)), worker=actor.token) == "accepted"
    found: set[str] = set()
    kept = 2
    async with asyncio.timeout(60):
        while kept < 4 + len(later):
            await store.wait_for_work(0.05)
            box = await mailbox(actor, begun, kept)
            if box is not None:
                found |= set(ids(box))
                kept = box.signals

    assert found >= {*sent_ids(posted[:2]), *sent_ids(later)}
    new = await sent(store, begun, 1)
    brought = ids(await mailbox(actor, begun, kept))
    assert brought[-1:] == sent_ids(new)
    if store.capabilities.processes:  # a store of one process returns it again at no cost
        assert brought == sent_ids(new)


async def test_of_messages_that_come_at_once_none_is_left_out(actor: Actor, store: Store) -> None:
    """Whichever message commits first, a claim between the two has not reported the counter of the other."""
    begun, senders = await actor.begin(), [await actor.begin() for _ in range(3)]
    mail = [delivery(begun) for _ in range(24)]
    parts = [mail[number::6] for number in range(6)]

    async def send(part: list[Delivery], sender: Append | None) -> None:
        for number, one in enumerate(part, 2):
            if sender is None:
                assert await store.deliver([one]) == [Delivered.ACCEPTED]
            else:
                assert await actor.write(append(sender, number, deliveries=(one,))) == "accepted"

    by = [*senders, None, None, None]
    sending = asyncio.gather(*(send(part, sender) for part, sender in zip(parts, by, strict=True)))
    found: list[str] = []
    kept = 0
    while kept < len(mail):
        box = await mailbox(actor, begun, kept)
        if box is not None:
            assert box.after == kept
            found += ids(box)
            kept = box.signals
        await asyncio.sleep(0)
    await sending

    assert set(found) == set(sent_ids(mail))


@pytest.mark.parametrize("by", ["delivery", "commit", "session"])
async def test_a_message_held_open_is_new_after_another_that_has_overtaken_it(
    store: Store, actor: Actor, hire: Hire, by: str
) -> None:
    """Its number must not lie below the counter that the owner was told meanwhile."""
    owner = await hire()

    async def hold(sender: Append, one: Delivery) -> object:
        if by == "delivery":
            return await store.deliver([one])
        item = append(sender, 2, deliveries=(one,))
        if by == "commit":
            return await actor.write(item)
        async with store.services.sessions.begin() as session:
            return await session.commit(item, worker=actor.token)

    async def overtake(begun: Append, one: Delivery) -> Mailbox | None:
        assert await owner.store.deliver([one]) == [Delivered.ACCEPTED]
        return await mailbox(owner, begun, 2)

    async def scenario() -> Scene:
        begun = await owner.begin()
        await sent(owner.store, begun, 2)
        slow, fast = delivery(begun), delivery(begun)

        async def check(_: object, told: Mailbox | None) -> None:
            assert told is not None
            assert fast.delivery_id in ids(told)
            found, kept = set(ids(told)), told.signals
            async with asyncio.timeout(60):
                while slow.delivery_id not in found:
                    box = await mailbox(owner, begun, kept)
                    found |= set() if box is None else set(ids(box))
                    kept = kept if box is None else box.signals
                    await asyncio.sleep(0)

        return hold(await actor.begin(), slow), overtake(begun, fast), check

    await play(store, scenario)


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_what_bears_no_number_is_brought_every_time(actor: Actor, store: Store) -> None:
    """Such a message is older than message numbers, or an older worker beside this one has delivered it."""
    begun = await actor.begin()
    old = await sent(store, begun, 3)
    mark = store.capabilities.placeholder
    async with store.services.sessions.begin() as session:
        where = mark.replace("1", "2")
        sql = f"update romancy_inbox set number = {mark} where instance_id = {where}"  # noqa: S608 - placeholders
        assert await session.execute(sql, UNCOUNTED, begun.instance_id) == 3
        assert await session.commit(start()) == "accepted"
    new = await sent(store, begun, 2)

    assert ids(await mailbox(actor, begun, 3)) == sent_ids([*old, *new])
    assert ids(await mailbox(actor, begun, 4)) == sent_ids([*old, new[1]])

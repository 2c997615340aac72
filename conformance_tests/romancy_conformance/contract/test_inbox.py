"""The inbox: the owner of the instance sees each accepted message once, whatever happens at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import ClaimRequest, Delivered, OutboxRow, Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, delivery, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Mailbox
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


async def mail_of(actor: Actor) -> dict[str, Mailbox]:
    """Return the mail of all instances this worker owns, without claiming more."""
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0)
    work = await actor.store.claim(request)
    return {box.instance_id: box for box in work.mail}


async def test_the_owner_gets_its_mail_in_the_order_of_the_sender(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    sent = [delivery(begun, b'{"n":%d}' % number) for number in range(5)]

    assert await store.deliver(sent) == [Delivered.ACCEPTED] * 5

    box = (await mail_of(actor))[begun.instance_id]
    assert [row.body for row in box.rows] == [item.body for item in sent]
    assert (box.life, box.signals) == (begun.life, 5)


async def test_mail_bears_the_time_at_which_the_database_took_it(actor: Actor, store: Store) -> None:
    """B7: this time decides whether a message or a deadline came first, however late a worker reads it."""
    begun, other = await actor.begin(), await actor.begin()
    before = (await store.heartbeat(actor.worker)).now
    await store.deliver([delivery(begun)])
    assert await actor.write(append(other, 2, deliveries=(delivery(begun),))) is Outcome.ACCEPTED
    after = (await store.heartbeat(actor.worker)).now

    times = [row.at for row in (await mail_of(actor))[begun.instance_id].rows]

    assert [before, *times, after] == sorted([before, *times, after])


async def test_mail_is_consumed_with_the_append_that_takes_it(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    first, second = delivery(begun), delivery(begun)
    await store.deliver([first, second])
    box = (await mail_of(actor))[begun.instance_id]

    taken = append(begun, 2, consumed=(first.delivery_id,), change=change(seen=box.signals))
    assert await actor.write(taken) is Outcome.ACCEPTED
    again = append(begun, 3, consumed=(first.delivery_id,), change=change(seen=box.signals))
    assert await actor.write(again) is Outcome.GONE
    both = append(begun, 3, consumed=(second.delivery_id,), change=change(seen=box.signals))
    assert await actor.write(both) is Outcome.ACCEPTED

    assert await mail_of(actor) == {}


async def test_only_what_is_consumed_goes_with_an_append_that_carries_more(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    first, second = delivery(begun), delivery(begun)
    await store.deliver([first, second])

    item = append(begun, 2, consumed=(first.delivery_id,), change=change(seen=1), starts=(start(),))
    assert await actor.write(item) is Outcome.ACCEPTED

    assert [row.delivery_id for row in (await mail_of(actor))[begun.instance_id].rows] == [second.delivery_id]


async def test_mail_of_another_instance_is_not_there_to_be_consumed(actor: Actor, store: Store) -> None:
    begun, other = await actor.begin(), await actor.begin()
    mail = delivery(other)
    await store.deliver([mail])

    taken = append(begun, 2, consumed=(mail.delivery_id,), change=change())
    assert await actor.write(taken) is Outcome.GONE

    assert [row.delivery_id for row in (await mail_of(actor))[other.instance_id].rows] == [mail.delivery_id]


async def test_a_refused_append_consumes_nothing(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await actor.write(step(begun, 2))
    mail = delivery(begun)
    await store.deliver([mail])

    refused = append(begun, 2, consumed=(mail.delivery_id,), change=change(seen=1))

    assert await actor.write(refused) is Outcome.TAKEN
    assert [row.delivery_id for row in (await mail_of(actor))[begun.instance_id].rows] == [mail.delivery_id]


async def test_seen_mail_does_not_come_back_by_itself(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await store.deliver([delivery(begun)])
    await actor.write(append(begun, 2, change=change(seen=1)))
    assert await mail_of(actor) == {}

    await store.deliver([delivery(begun)])

    box = (await mail_of(actor))[begun.instance_id]
    assert (len(box.rows), box.signals) == (2, 2)


async def test_a_delivery_wakes_a_sleeper(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await actor.write(append(begun, 2, change=change(Status.WAITING, release=True)))
    assert await actor.claim() == []

    await store.deliver([delivery(begun)])

    (claimed,) = await actor.claim()
    assert (claimed.instance_id, claimed.head, claimed.signals, claimed.seen) == (begun.instance_id, 2, 1, 0)


async def test_a_release_that_missed_a_delivery_does_not_sleep(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await store.deliver([delivery(begun)])

    sleep = append(begun, 2, change=change(Status.WAITING, seen=0, release=True))
    assert await actor.write(sleep) is Outcome.ACCEPTED

    (claimed,) = await actor.claim()
    assert claimed.instance_id == begun.instance_id


async def test_the_end_is_refused_while_there_is_unseen_mail(actor: Actor, store: Store) -> None:
    """B8: an accepted message is either in the log or still in the inbox."""
    begun = await actor.begin()
    await store.deliver([delivery(begun)])

    assert await actor.write(append(begun, 2, change=change(Status.COMPLETED, seen=0))) is Outcome.UNSEEN
    assert await actor.write(append(begun, 2, change=change(Status.COMPLETED, seen=1))) is Outcome.ACCEPTED


async def test_an_ended_or_unknown_instance_takes_no_mail(actor: Actor, store: Store) -> None:
    ended, open_one = await actor.begin(), await actor.begin()
    await actor.write(append(ended, 2, change=change(Status.FAILED)))

    answers = await store.deliver([delivery(ended), delivery(open_one), delivery(unique("nobody"))])

    assert answers == [Delivered.CLOSED, Delivered.ACCEPTED, Delivered.UNKNOWN]
    assert list(await mail_of(actor)) == [open_one.instance_id]
    history = await store.read(ended.instance_id, limit=0)
    assert history is not None
    assert (history.instance.signals, history.instance.wake_at) == (0, None)
    assert await actor.claim(sweep=True) == []


async def test_a_delivery_sent_twice_is_taken_once(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    mail = delivery(begun)

    assert await store.deliver([mail]) == [Delivered.ACCEPTED]
    assert await store.deliver([mail]) == [Delivered.DUPLICATE]

    assert len((await mail_of(actor))[begun.instance_id].rows) == 1


async def test_a_dedupe_key_is_remembered_after_consumption(actor: Actor, store: Store) -> None:
    """B3: after the inbox row is gone, a redelivery is still recognised, until the key is forgotten."""
    begun = await actor.begin()
    key = unique("event")
    mail = delivery(begun, dedupe=key)
    await store.deliver([mail])
    await actor.write(append(begun, 2, consumed=(mail.delivery_id,), change=change(seen=1)))

    assert await store.deliver([mail]) == [Delivered.DUPLICATE]
    assert await store.deliver([delivery(begun, dedupe=key)]) == [Delivered.DUPLICATE]

    pulse = await store.heartbeat(actor.worker)
    await store.services.upkeep.prune(PruneRequest(dedupe_before=pulse.now + 1))
    assert await store.deliver([delivery(begun, dedupe=key)]) == [Delivered.ACCEPTED]


async def test_two_copies_in_one_batch_are_taken_once(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    key = unique("event")
    same = delivery(begun)

    answers = await store.deliver([delivery(begun, dedupe=key), delivery(begun, dedupe=key), same, same])

    assert sorted(answers) == [Delivered.ACCEPTED] * 2 + [Delivered.DUPLICATE] * 2
    assert len((await mail_of(actor))[begun.instance_id].rows) == 2


async def test_a_repetition_whose_key_is_forgotten_holds_up_none_with_the_key(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    key = unique("event")
    mail, other = delivery(begun, dedupe=key), delivery(begun, dedupe=key)
    await store.deliver([mail])
    pulse = await store.heartbeat(actor.worker)
    await store.services.upkeep.prune(PruneRequest(dedupe_before=pulse.now + 1))

    assert await store.deliver([mail, other]) == [Delivered.DUPLICATE, Delivered.ACCEPTED]


async def test_a_duplicate_wakes_nobody(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    mail = delivery(begun, dedupe=unique("event"))
    await store.deliver([mail])
    await actor.write(
        append(begun, 2, consumed=(mail.delivery_id,), change=change(Status.WAITING, seen=1, release=True))
    )

    await store.deliver([mail])

    assert await actor.claim() == []


async def test_deliveries_of_a_commit_arrive_with_it_or_not_at_all(actor: Actor, store: Store) -> None:
    sender, target = await actor.begin(), await actor.begin()
    mail = delivery(target)

    await actor.write(step(sender, 2))
    assert await actor.write(append(sender, 2, deliveries=(mail,))) is Outcome.TAKEN
    assert await mail_of(actor) == {}
    assert await actor.write(append(sender, 3, deliveries=(mail,))) is Outcome.ACCEPTED
    assert list(await mail_of(actor)) == [target.instance_id]


async def test_a_commit_may_deliver_to_the_ended_and_the_unknown(actor: Actor) -> None:
    """A child that ends after its parent must be able to commit its end."""
    child, parent = await actor.begin(), await actor.begin()
    await actor.write(append(parent, 2, change=change(Status.CANCELLED)))

    last = append(child, 2, change=change(Status.COMPLETED), deliveries=(delivery(parent), delivery(unique("nobody"))))

    assert await actor.write(last) is Outcome.ACCEPTED


async def test_a_message_to_one_that_ends_in_the_same_batch(actor: Actor) -> None:
    """Whichever item the store orders first, both get an outcome, and no mail stays with an ended instance."""
    for order in (1, -1):
        sender, receiver = await actor.begin(), await actor.begin()
        message = append(sender, 2, deliveries=(delivery(receiver),))
        end = append(receiver, 2, change=change(Status.COMPLETED))
        batch = [message, end][::order]

        outcomes = dict(zip(batch, await actor.store.commit(batch, worker=actor.token), strict=True))

        assert outcomes[message] is Outcome.ACCEPTED
        assert outcomes[end] in (Outcome.ACCEPTED, Outcome.UNSEEN)
        assert (outcomes[end] is Outcome.UNSEEN) == (receiver.instance_id in await mail_of(actor))


async def test_a_message_to_one_whose_end_in_the_same_batch_is_refused(actor: Actor) -> None:
    sender, receiver = await actor.begin(), await actor.begin()
    batch = [
        append(sender, 2, deliveries=(delivery(receiver),)),
        append(receiver, 1, change=change(Status.COMPLETED)),
    ]

    assert [Outcome.ACCEPTED, Outcome.TAKEN] == await actor.store.commit(batch, worker=actor.token)
    assert list(await mail_of(actor)) == [receiver.instance_id]


async def test_a_message_of_a_commit_sent_again_is_delivered_once(actor: Actor) -> None:
    sender, target = await actor.begin(), await actor.begin()
    item = append(sender, 2, deliveries=(delivery(target),), outbox=(outgoing(),))

    for _ in range(3):
        assert await actor.write(item) is Outcome.ACCEPTED

    box = (await mail_of(actor))[target.instance_id]
    assert (len(box.rows), box.signals) == (1, 1)


async def test_an_outbox_row_outlives_its_instance_and_is_queued_once(actor: Actor, store: Store) -> None:
    """The instance was removed, and the same start is sent again."""
    sent = outgoing(b"1")
    item = start(workflow_name=next(iter(actor.workflows)), status=Status.COMPLETED, outbox=(sent,))
    for _ in range(2):
        assert await actor.write(item) is Outcome.ACCEPTED
        assert [row for row in await store.services.outbox.read(1000) if row.outbox_id == sent.outbox_id] == [sent]
        assert await store.services.upkeep.prune(PruneRequest(instance_ids=(item.instance_id,))) == 1


async def test_outbox_rows_appear_with_their_commit(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await actor.write(step(begun, 2))
    refused = [outgoing(b"1")]
    accepted = sorted((outgoing(b"2"), outgoing(b"3")), key=lambda row: row.outbox_id)

    assert await actor.write(append(begun, 2, outbox=tuple(refused))) is Outcome.TAKEN
    assert await actor.write(append(begun, 3, outbox=tuple(accepted))) is Outcome.ACCEPTED

    ours = {row.outbox_id for row in (*refused, *accepted)}
    seen = [row for row in await store.services.outbox.read(1000) if row.outbox_id in ours]
    assert seen == accepted
    assert await store.services.outbox.remove([row.outbox_id for row in accepted]) == 2
    assert await store.services.outbox.remove([row.outbox_id for row in accepted]) == 0
    assert [row for row in await store.services.outbox.read(1000) if row.outbox_id in ours] == []


async def test_mail_reaches_an_instance_nobody_has_claimed_yet(actor: Actor, store: Store) -> None:
    fresh = start(workflow_name=next(iter(actor.workflows)))
    await store.commit([fresh])
    await store.deliver([delivery(fresh)])

    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5))

    assert [claimed.instance_id for claimed in work.claimed] == [fresh.instance_id]
    assert [(box.instance_id, len(box.rows)) for box in work.mail] == [(fresh.instance_id, 1)]


def outgoing(body: bytes = b"{}") -> OutboxRow:
    """A message for the outbox."""
    return OutboxRow(outbox_id=unique("o"), topic="topic", body=body)


async def test_mail_that_was_left_lying_comes_with_the_next_claim(actor: Actor, store: Store) -> None:
    """The instance did not wait for the message when its owner saw it; a later owner must find it."""
    begun = await actor.begin()
    mail = delivery(begun)
    await store.deliver([mail])
    sleep = append(begun, 2, change=change(Status.WAITING, seen=1, release=True, wake_at=1))
    assert await actor.write(sleep) is Outcome.ACCEPTED

    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5))

    assert [claimed.instance_id for claimed in work.claimed] == [begun.instance_id]
    assert [row.delivery_id for box in work.mail for row in box.rows] == [mail.delivery_id]

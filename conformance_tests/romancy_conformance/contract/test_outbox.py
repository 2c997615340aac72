"""The outbox: each message to one relay at a time, each key in order, and nothing lost whatever happens to a relay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.errors import UsageError
from romancy.storage.outbox import FINISHED, OutboxEntry, OutboxState, Settled
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, silent, unique
from romancy_conformance.contract.interleaving import HoldAt, leave, listen, needs_statements, play, run
from romancy_conformance.contract.publishing import MINUTE, Publisher, ended, ids, outgoing, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Open = Callable[[], Awaitable[Store]]

pytestmark = pytest.mark.anyio

LONG = 30.0


@pytest.fixture
async def publisher(actor: Actor) -> Publisher:
    """An instance that can publish."""
    return Publisher(actor, await actor.begin())


def failed(entry: OutboxEntry, delay: int) -> Settled:
    return Settled(
        outbox_id=entry.row.outbox_id, claim=entry.claim or "", state=OutboxState.PENDING, delay=delay, error="503"
    )


async def states(store: Store) -> dict[OutboxState, int]:
    return (await store.services.outbox.counts(most=1000)).states


async def test_a_message_is_claimed_with_what_is_known_of_it(store: Store, publisher: Publisher) -> None:
    row = outgoing("café", b'{"n":1}', instance_id="order-1")
    await publisher.publish(row)

    given = await store.services.outbox.claim("c1", lease=MINUTE, limit=10)

    (entry,) = given.entries
    assert entry == OutboxEntry(
        row=row, at=entry.at, queued_at=entry.at, next_at=entry.next_at, claim="c1", state=OutboxState.PENDING
    )
    assert entry.at <= given.now
    assert entry.next_at is not None
    assert given.now <= entry.next_at <= given.now + 2 * MINUTE
    assert (given.next_due, given.more) == (entry.next_at, False)
    assert await store.services.outbox.read(10) == [row]


async def test_the_oldest_come_first_and_no_more_than_asked(store: Store, publisher: Publisher) -> None:
    sent = await publisher.publish_each(*(outgoing() for _ in range(5)))

    first = await store.services.outbox.claim(unique(), lease=MINUTE, limit=3)
    second = await store.services.outbox.claim(unique(), lease=MINUTE, limit=3)

    assert (ids(first.entries), first.more) == (sent[:3], True)
    assert (ids(second.entries), second.more) == (sent[3:], False)
    assert await take(store) == []


async def test_of_one_commit_the_lowest_ids_come_first(store: Store, publisher: Publisher) -> None:
    sent = sorted(await publisher.publish(*reversed([outgoing() for _ in range(3)])))

    assert [row.outbox_id for row in await store.services.outbox.read(2)] == sent[:2]
    assert [ids(await take(store, 1)) for _ in sent] == [[one] for one in sent]


async def test_two_relays_get_different_messages(store: Store, open_store: Open, publisher: Publisher) -> None:
    relays = [store, await open_store(), await open_store()]
    for keys in ([None] * 60, [f"k{number}" for number in range(60)]):
        sent = await publisher.publish(*map(outgoing, keys))

        given = await asyncio.gather(*(take(relay, lease=10 * MINUTE) for relay in relays))

        assert sorted(sent) == sorted(one for entries in given for one in ids(entries))


async def test_a_claim_that_is_over_is_anybodys_and_the_late_relay_changes_nothing(
    store: Store, publisher: Publisher
) -> None:
    await publisher.publish(outgoing())
    (crashed,) = await take(store, lease=0, limit=1)

    (again,) = await take(store)

    assert again.row == crashed.row
    assert again.attempts == 0
    assert await store.services.outbox.settle([ended(crashed, OutboxState.INVALID)]) == 0
    assert await store.services.outbox.settle([ended(again)]) == 1
    assert await store.services.outbox.settle([ended(again)]) == 0
    assert await states(store) == {OutboxState.PUBLISHED: 1}


async def test_what_becomes_of_messages_is_recorded(store: Store, publisher: Publisher) -> None:
    await publisher.publish(*(outgoing() for _ in range(6)))
    before = (await store.services.outbox.counts(most=1000)).now
    first, second, third, fourth, fifth, sixth = await take(store)

    batch = [
        ended(first),
        ended(second, OutboxState.FAILED, "café"),
        ended(third, OutboxState.INVALID, "400"),
        ended(fourth, OutboxState.EXPIRED, "too old", counted=False),
        failed(fifth, MINUTE),
        Settled(outbox_id=sixth.row.outbox_id, claim=sixth.claim or "", state=OutboxState.PENDING, counted=False),
    ]
    assert await store.services.outbox.settle(batch) == 6

    found = await store.services.outbox.entries()
    by_id = {entry.row.outbox_id: entry for entry in found}
    told = [by_id[one.outbox_id] for one in batch]
    assert [(one.state, one.attempts, one.error) for one in told] == [
        ("published", 1, None),
        ("failed", 1, "café"),
        ("invalid", 1, "400"),
        ("expired", 0, "too old"),
        ("pending", 1, "503"),
        ("pending", 0, None),
    ]
    assert [one.ended_at is not None and one.ended_at >= before for one in told] == [True] * 4 + [False] * 2
    assert ids(await take(store)) == [sixth.row.outbox_id]
    for counts in (await store.services.outbox.counts(most=1000), await store.services.outbox.counts(most=9)):
        assert counts.states == {**dict.fromkeys(FINISHED, 1), OutboxState.PENDING: 2}
        assert counts.oldest == min(fifth.at, sixth.at)


async def test_a_message_that_is_given_back_keeps_the_error_of_its_last_attempt(
    store: Store, publisher: Publisher
) -> None:
    await publisher.publish(outgoing())
    (first,) = await take(store)
    await store.services.outbox.settle([failed(first, 0)])

    for counted, error, kept in ((False, None, "503"), (False, "too old", "too old"), (True, None, None)):
        (again,) = await take(store)
        await store.services.outbox.settle([ended(again, OutboxState.PENDING, error, counted=counted)])
        (entry,) = await store.services.outbox.entries()
        assert (entry.state, entry.error) == ("pending", kept)


async def test_counts_of_messages_can_be_bounded(store: Store, publisher: Publisher) -> None:
    await publisher.publish_each(*(outgoing(key) for key in ("a", "a", None, "a", "b")))
    await take(store, 3)
    found = [(await store.services.outbox.counts(most=most)).states for most in (2, 4, 5, 10)]
    assert [{OutboxState.PENDING: count} for count in (2, 4, 5, 5)] == found


async def test_pages_of_messages_by_state(store: Store, publisher: Publisher) -> None:
    sent = await publisher.publish_each(*reversed([outgoing() for _ in range(5)]))
    for entry in await take(store, 2):
        await store.services.outbox.settle([ended(entry)])

    page = await store.services.outbox.entries([OutboxState.PENDING], limit=2)
    rest = await store.services.outbox.entries([OutboxState.PENDING], after=(page[-1].at, page[-1].row.outbox_id))

    assert [ids(page), ids(rest)] == [sent[2:4], sent[4:]]
    assert ids(await store.services.outbox.entries()) == sent


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_messages_of_a_key_are_given_one_after_the_other(store: Store, publisher: Publisher) -> None:
    sent = await publisher.publish_each(outgoing("a"), outgoing("b"), outgoing("a"), outgoing("a"), outgoing("b"))
    order: list[str] = []

    while entries := await take(store):
        assert len({entry.row.key for entry in entries}) == len(entries)
        order += ids(entries)
        assert await store.services.outbox.settle([ended(entry) for entry in entries]) == len(entries)

    a, b = [sent[0], sent[2], sent[3]], [sent[1], sent[4]]
    assert [[one for one in order if one in key] for key in (a, b)] == [a, b]


async def test_messages_of_one_commit_are_given_in_the_order_of_their_ids(store: Store, publisher: Publisher) -> None:
    rows = [outgoing("k") for _ in range(4)]
    sent = await publisher.publish(*reversed(rows))
    order: list[str] = []

    while entries := await take(store):
        order += ids(entries)
        await store.services.outbox.settle([ended(entry) for entry in entries])

    assert order == sorted(sent)


async def test_a_failure_holds_its_key_and_no_other(store: Store, publisher: Publisher) -> None:
    first, other, second, none = await publisher.publish_each(outgoing("a"), outgoing("b"), outgoing("a"), outgoing())
    given = {entry.row.outbox_id: entry for entry in await take(store)}
    assert set(given) == {first, other, none}

    await store.services.outbox.settle([failed(given[first], MINUTE), ended(given[other]), ended(given[none])])

    assert await take(store) == []
    later = await publisher.publish(outgoing("b"), outgoing("a"))
    assert ids(await take(store, sweep=True)) == later[:1]
    assert second in ids(await store.services.outbox.entries([OutboxState.PENDING]))


async def test_after_an_end_the_next_of_the_key_is_due(store: Store, publisher: Publisher) -> None:
    for state in sorted(FINISHED):
        _, second = await publisher.publish_each(outgoing(state), outgoing(state))
        (given,) = await take(store)
        assert await take(store) == []

        await store.services.outbox.settle([ended(given, state)])

        assert ids(await take(store)) == [second], state


async def test_very_many_behind_one_that_fails_hide_no_other(store: Store, publisher: Publisher) -> None:
    (head,) = await publisher.publish(outgoing("a"))
    for _ in range(3):
        await publisher.publish(*(outgoing("a") for _ in range(100)))
    (other,) = await publisher.publish(outgoing("b"))

    assert sorted(ids(await take(store, 2, lease=10 * MINUTE))) == sorted([head, other])
    (last,) = await publisher.publish(outgoing())

    given = await store.services.outbox.claim(unique(), lease=MINUTE, limit=1)
    assert (ids(given.entries), given.more) == ([last], False)


async def test_what_commits_late_is_given(actor: Actor, publisher: Publisher, open_store: Open) -> None:
    """An older message that commits after a newer one was published: no cursor may have passed it."""
    if actor.store.capabilities.sessions_exclude:
        pytest.skip("this database has one writer at a time: nothing commits late")
    begun = await actor.begin()
    slow = await open_store()
    late = outgoing("k")

    async def commit() -> Outcome:
        async with slow.services.sessions.begin() as session:
            return await session.commit(append(begun, 2, outbox=(late,)), worker=actor.token)

    hold = HoldAt("commit")
    listen(slow, hold)
    committing = run(slow, commit())
    await hold.reached.wait()
    (newer,) = await publisher.publish(outgoing("k"))
    (given,) = await take(actor.store)
    assert given.row.outbox_id == newer
    await actor.store.services.outbox.settle([ended(given)])

    hold.go.set()
    assert await committing is Outcome.ACCEPTED
    leave(slow)

    assert ids(await take(actor.store)) == [late.outbox_id]


# ── races ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def all_in_order(store: Store, *expected: Sequence[str]) -> None:
    """Everything else is given without a sweep, each key in its order."""
    order: list[str] = []
    while entries := await take(store):
        order += ids(entries)
        await store.services.outbox.settle([ended(entry) for entry in entries])
    assert [[one for one in order if one in key] for key in expected] == [list(key) for key in expected]
    assert OutboxState.PENDING not in await states(store)


async def test_a_claim_that_meets_a_settlement_leaves_nothing_parked(
    store: Store, open_store: Open, publisher: Publisher
) -> None:
    held = await open_store()

    async def scenario() -> tuple[Awaitable[object], Awaitable[object], Callable[..., Awaitable[None]]]:
        await publisher.publish(outgoing("k"))
        (head,) = await take(store)
        behind = await publisher.publish_each(outgoing("k"), outgoing("k"))

        async def check(given: object, _: object) -> None:
            entries = getattr(given, "entries", [])
            order = ids(entries)
            await store.services.outbox.settle([ended(entry) for entry in entries])
            await all_in_order(store, behind[len(order) :])
            assert order == behind[: len(order)]

        claiming = held.services.outbox.claim(unique(), lease=MINUTE, limit=10)
        return claiming, store.services.outbox.settle([ended(head)]), check

    await play(held, scenario)


async def test_a_settlement_that_meets_a_claim_leaves_nothing_parked(
    store: Store, open_store: Open, publisher: Publisher
) -> None:
    held = await open_store()

    async def scenario() -> tuple[Awaitable[object], Awaitable[object], Callable[..., Awaitable[None]]]:
        await publisher.publish(outgoing("k"))
        (head,) = await take(store)
        behind = await publisher.publish_each(outgoing("k"), outgoing("k"))

        async def check(settled: object, given: list[OutboxEntry]) -> None:
            assert settled == 1
            order = ids(given)
            assert order == behind[: len(order)]
            await store.services.outbox.settle([ended(entry) for entry in given])
            await all_in_order(store, behind[len(order) :])

        return held.services.outbox.settle([ended(head)]), take(store), check

    await play(held, scenario)


async def test_two_claims_that_meet_give_each_message_once(
    store: Store, open_store: Open, publisher: Publisher
) -> None:
    held = await open_store()

    async def scenario() -> tuple[Awaitable[object], Awaitable[object], Callable[..., Awaitable[None]]]:
        keyed = await publisher.publish_each(outgoing("k"), outgoing("k"))
        free = await publisher.publish(outgoing(), outgoing())

        async def check(one: object, given: list[OutboxEntry]) -> None:
            entries = [*getattr(one, "entries", []), *given]
            assert len(set(ids(entries))) == len(entries)
            assert keyed[1] not in ids(entries)
            await store.services.outbox.settle([ended(entry) for entry in entries])
            left = [row for row in keyed if row not in ids(entries)]
            await all_in_order(store, left, *([row] for row in free if row not in ids(entries)))

        return held.services.outbox.claim(unique(), lease=MINUTE, limit=10), take(store), check

    await play(held, scenario)


async def test_a_crash_before_the_next_was_made_due_is_swept_up(
    store: Store, open_store: Open, publisher: Publisher
) -> None:
    dying = await open_store()
    _, second = await publisher.publish_each(outgoing("k"), outgoing("k"))
    (head,) = await take(store)
    assert await take(store) == []

    needs_statements(dying)
    hold = HoldAt("outbox_promote", "outbox_next")
    listen(dying, hold)
    settling = run(dying, dying.services.outbox.settle([ended(head)]))
    await asyncio.wait_for(hold.reached.wait(), 60)
    settling.cancel()
    await asyncio.wait({settling})
    leave(dying)

    swept = await take(store, sweep=True)
    if ids(swept) == []:  # the settlement was one transaction with it, and is undone
        await store.services.outbox.settle([ended(head)])
        swept = await take(store)
    assert ids(swept) == [second]


# ── operators ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_finished_messages_are_queued_again(store: Store, publisher: Publisher) -> None:
    sent = await publisher.publish_each(*(outgoing() for _ in range(4)))
    one, two, three, _ = await take(store)
    await store.services.outbox.settle(
        [ended(one, OutboxState.FAILED, "x"), ended(two, OutboxState.INVALID), ended(three)]
    )

    assert (
        await store.services.outbox.requeue([OutboxState.FAILED, OutboxState.INVALID], outbox_ids=[sent[1], sent[2]])
        == 1
    )
    (again,) = await take(store)
    assert (again.row.outbox_id, again.attempts, again.state) == (sent[1], 0, "pending")
    assert again.queued_at > again.at
    assert await store.services.outbox.requeue([OutboxState.FAILED], limit=10) == 1
    assert ids(await take(store)) == [sent[0]]
    with pytest.raises(UsageError):
        await store.services.outbox.requeue([OutboxState.PENDING])


async def test_the_oldest_finished_messages_are_queued_again_first(store: Store, publisher: Publisher) -> None:
    sent = await publisher.publish_each(*reversed([outgoing() for _ in range(3)]))
    for entry in reversed(await take(store)):
        await store.services.outbox.settle([ended(entry, OutboxState.FAILED)])

    for one in sent:
        assert await store.services.outbox.requeue([OutboxState.FAILED], limit=1) == 1
        assert ids(await take(store)) == [one]


async def test_a_message_queued_again_comes_before_what_is_pending_of_its_key(
    store: Store, publisher: Publisher
) -> None:
    first, second, third = await publisher.publish_each(outgoing("k"), outgoing("k"), outgoing("k"))
    (head,) = await take(store)
    await store.services.outbox.settle([ended(head, OutboxState.FAILED)])
    (given,) = await take(store)
    assert given.row.outbox_id == second

    assert await store.services.outbox.requeue([OutboxState.FAILED]) == 1
    await store.services.outbox.settle([ended(given)])

    await all_in_order(store, [first, third])


async def test_old_finished_messages_are_purged(store: Store, publisher: Publisher) -> None:
    await publisher.publish(*(outgoing() for _ in range(4)))
    one, two, three, four = await take(store)
    await store.services.outbox.settle([ended(one), ended(two), ended(three, OutboxState.FAILED)])
    later = (await store.services.outbox.counts(most=1000)).now + MINUTE

    assert await store.services.outbox.purge([OutboxState.PUBLISHED], one.at) == 0
    assert await store.services.outbox.purge([OutboxState.PUBLISHED], later, limit=1) == 1
    assert await store.services.outbox.purge([OutboxState.PUBLISHED], later) == 1
    assert await states(store) == {OutboxState.FAILED: 1, OutboxState.PENDING: 1}
    assert await store.services.outbox.settle([ended(four)]) == 1
    with pytest.raises(UsageError):
        await store.services.outbox.purge([OutboxState.PENDING], later)


async def test_what_ended_at_the_time_of_a_purge_is_kept(store: Store, publisher: Publisher) -> None:
    await publisher.publish(outgoing())
    await store.services.outbox.settle([ended(entry) for entry in await take(store)])
    (entry,) = await store.services.outbox.entries()
    assert entry.ended_at is not None

    assert await store.services.outbox.purge(FINISHED, entry.ended_at) == 0
    assert await store.services.outbox.purge(FINISHED, entry.ended_at + 1) == 1


async def test_removing_the_first_makes_the_next_due(store: Store, publisher: Publisher) -> None:
    first, second = await publisher.publish_each(outgoing("k"), outgoing("k"))
    await take(store)

    assert await store.services.outbox.remove([first, "nobody"]) == 1

    assert ids(await take(store)) == [second]


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def until_news(store: Store, outbox_id: str) -> None:
    """Wait as a relay does until this message is given. A return without news is allowed."""
    while outbox_id not in ids(await take(store)):
        await store.services.outbox.wait(LONG)


@pytest.mark.parametrize("where", ["same store", "other store"])
async def test_a_message_wakes_relays(store: Store, open_store: Open, publisher: Publisher, where: str) -> None:
    relay = store if where == "same store" else await open_store()
    row = outgoing()
    waiting = asyncio.create_task(until_news(relay, row.outbox_id))
    await asyncio.sleep(0)

    await publisher.publish(row)

    await asyncio.wait_for(waiting, LONG / 2)


async def test_an_end_wakes_relays_for_the_next_of_the_key(
    store: Store, open_store: Open, publisher: Publisher
) -> None:
    _, second = await publisher.publish_each(outgoing("k"), outgoing("k"))
    (head,) = await take(store)
    waiting = asyncio.create_task(until_news(await open_store(), second))
    await asyncio.sleep(0)

    await store.services.outbox.settle([ended(head)])

    await asyncio.wait_for(waiting, LONG / 2)


async def test_messages_wake_nobody_who_waits_for_work(store: Store, publisher: Publisher) -> None:
    await silent(store)
    await publisher.publish(outgoing())

    changed = await store.wait_for_work(0.05)

    assert not changed


async def test_a_wait_ends_with_its_time(store: Store) -> None:
    await asyncio.wait_for(store.services.outbox.wait(0.01), LONG)


async def test_an_id_that_is_there_keeps_its_first_message(store: Store, publisher: Publisher, actor: Actor) -> None:
    """As of an instance that was purged, and is written again. Its neighbours are sent."""
    first, more = outgoing(body=b'{"n":1}'), outgoing()
    await publisher.publish(first)
    again = replace(first, body=b'{"n":2}')

    begun = await actor.begin()
    assert await actor.write(append(begun, 2, outbox=(again, more))) is Outcome.ACCEPTED
    async with store.services.sessions.begin() as session:
        item = append(begun, 3, outbox=(again, outgoing()))
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    bodies = {entry.row.outbox_id: entry.row.body for entry in await store.services.outbox.entries(limit=1000)}
    assert (bodies[first.outbox_id], bodies[more.outbox_id]) == (first.body, more.body)

"""First appends: one commit creates an instance and carries whatever an append carries, or writes nothing of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.errors import InternalError
from romancy.status import Status
from romancy.storage.outbox import OutboxRow
from romancy.storage.records import Change, Former, Outcome
from romancy.storage.routing import Interest, InterestKind, Owner, Place, Posting, Spread
from romancy_conformance.contract.building import append, change, created, delivery, full_log, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Item
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

RESTS = Change(status=Status.WAITING, seen=0, release=True)


def wanting(address: str, kind: InterestKind = InterestKind.TAKE) -> Interest:
    return Interest(interest_id=unique("w"), address=address, kind=kind)


def posted(address: str) -> Posting:
    return Posting(message_id=unique("m"), places=(Place(address, Spread.ONE),), body=b'"posted"')


def laden(address: str, elsewhere: str, target: Append, **fields: Any) -> Append:
    """A first append that carries something of every kind."""
    parent = unique("i")
    carried: dict[str, Any] = {
        "starts": (start(parent=parent), start(parent=parent)),
        "deliveries": (delivery(target),),
        "outbox": (OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}", instance_id=parent),),
        "interests": (wanting(address), wanting(unique("e"), InterestKind.COPY)),
        "postings": (posted(elsewhere),),
    }
    return start(parent, **(carried | fields))


async def is_there(store: Store, instance_id: str) -> bool:
    return await store.read(instance_id, limit=0) is not None


async def nothing_of(store: Store, item: Append) -> bool:
    """Whether nothing that the append carries was written."""
    there = [await is_there(store, one.instance_id) for one in item.starts]
    wanted = [await store.services.router.interests(one.address) for one in item.interests]
    kept = [await store.services.router.kept(address=place.address) for one in item.postings for place in one.places]
    outgoing = {entry.row.outbox_id for entry in await store.services.outbox.entries(limit=1000)}
    return not (any(there) or any(wanted) or any(kept) or outgoing & {one.outbox_id for one in item.outbox})


async def signals_of(store: Store, instance_id: str) -> int:
    history = await store.read(instance_id, limit=0)
    assert history is not None
    return history.instance.signals


async def test_everything_is_carried_and_an_earlier_copy_is_recognised(actor: Actor, store: Store) -> None:
    address, elsewhere = unique("k"), unique("k")
    target = await actor.begin()
    item = laden(address, elsewhere, target, owner=actor.token, change=change())

    for _ in range(2):
        assert await actor.write(item) is Outcome.ACCEPTED

    history = await store.read(item.instance_id)
    assert history is not None
    row = history.instance
    assert (row.status, row.owner, row.wake_at, row.error) == (Status.RUNNING, actor.token, None, None)
    assert [item.body] == [one.body for one in history.rows]
    assert all([await is_there(store, one.instance_id) for one in item.starts])
    assert await signals_of(store, target.instance_id) == 1
    (entry,) = [one for one in await store.services.outbox.entries(limit=1000) if one.row == item.outbox[0]]
    assert entry.row == item.outbox[0]
    owner = Owner(item.instance_id, item.life)
    for interest in item.interests:
        assert await store.services.router.interests(interest.address) == [(owner, interest)]
    assert [one.message_id for one in await store.services.router.kept(address=elsewhere)] == [
        item.postings[0].message_id
    ]
    assert await actor.write(step(item, 2, after=item.writer)) is Outcome.ACCEPTED


async def test_one_that_rests_is_due_when_its_change_says(actor: Actor, store: Store) -> None:
    pulse = await store.heartbeat(actor.worker)
    later = pulse.now + 3_600_000_000
    name = next(iter(actor.workflows))
    due = start(workflow_name=name, change=replace(RESTS, wake_at=pulse.now - 5))
    timed = start(workflow_name=name, change=replace(RESTS, wake_at=later), interests=(wanting(unique("k")),))
    silent = start(workflow_name=name, change=RESTS, interests=(wanting(unique("k")),))

    assert await store.commit([due, timed, silent]) == [Outcome.ACCEPTED] * 3

    claimed = {one.instance_id: one for one in await actor.claim()}
    assert claimed.keys() & {one.instance_id for one in (due, timed, silent)} == {due.instance_id}
    assert (claimed[due.instance_id].due, claimed[due.instance_id].status) == (pulse.now - 5, Status.WAITING)
    waking = [await store.read(one.instance_id, limit=0) for one in (timed, silent)]
    assert [None if one is None else one.instance.wake_at for one in waking] == [later, None]


async def test_a_wait_is_met_by_what_is_posted_after_its_first_append(actor: Actor, store: Store) -> None:
    address = unique("k")
    item = start(workflow_name=next(iter(actor.workflows)), change=RESTS, interests=(wanting(address),))
    message = posted(address)

    assert await store.commit([item]) == [Outcome.ACCEPTED]
    await store.services.router.post([message])
    assert (await store.services.router.dispatch([address])).delivered == 1

    (claimed,) = await actor.claim()
    assert (claimed.instance_id, claimed.signals) == (item.instance_id, 1)


async def test_a_message_to_itself_wakes_one_that_rests(actor: Actor, store: Store) -> None:
    name = next(iter(actor.workflows))
    resting = start(workflow_name=name, change=RESTS)
    undriven = start(workflow_name=name, delay=None)
    kept = start(workflow_name=name, owner=actor.token, change=change())
    items = [replace(one, deliveries=(delivery(one), delivery(one))) for one in (resting, undriven, kept)]

    for item in items:
        assert await actor.write(item) is Outcome.ACCEPTED

    assert {one.instance_id for one in await actor.claim()} == {resting.instance_id, undriven.instance_id}
    assert [await signals_of(store, one.instance_id) for one in items] == [2] * 3


async def test_a_child_that_is_in_does_not_stop_its_parent(actor: Actor, store: Store) -> None:
    """An earlier copy of the very start has begun the child, alone or with another append."""
    child = start()
    assert await store.commit([child]) == [Outcome.ACCEPTED]

    assert await actor.write(start(owner=actor.token, change=change(), starts=(child, start()))) is Outcome.ACCEPTED
    assert await actor.write(start(change=RESTS, starts=(child,))) is Outcome.ACCEPTED
    async with store.services.sessions.begin() as session:
        assert await session.commit(start(starts=(start(), child)), worker=actor.token) is Outcome.ACCEPTED


async def test_messages_arrive_at_what_is_created_with_them(actor: Actor, store: Store) -> None:
    """Beside a refused neighbour, in a session, and of an instance that another one has ended under the id before."""
    old = await actor.begin()
    assert await actor.write(append(old, 2, change=change(Status.COMPLETED))) is Outcome.ACCEPTED
    former = Former(old.life, frozenset({Status.COMPLETED}))
    over, kid = await actor.begin(), start()
    assert await actor.write(append(over, 2, change=change(Status.FAILED))) is Outcome.ACCEPTED
    plain, heir = start(), start(old.instance_id, replaces=former)
    batch: list[Item] = [
        replace(plain, deliveries=(delivery(plain),)),
        replace(heir, deliveries=(delivery(heir),)),
        start(starts=(kid,), deliveries=(delivery(over), delivery(kid))),
        step(await actor.begin(), 2, after="nobody"),
    ]

    outcomes = await store.commit(batch, worker=actor.token)
    async with store.services.sessions.begin() as session:
        own = start()
        assert await session.commit(replace(own, deliveries=(delivery(own),)), worker=actor.token) is Outcome.ACCEPTED
    await actor.claim(sweep=True)

    assert outcomes == [Outcome.ACCEPTED] * 3 + [Outcome.LOST]
    there = [await signals_of(store, one.instance_id) for one in (plain, heir, kid, own)]
    assert there == [1] * 4


@pytest.mark.parametrize(
    "reason", ["its id is taken", "a child's id is taken", "its owner is dead", "its owner is unknown"]
)
async def test_of_a_refused_one_nothing_is_written(actor: Actor, store: Store, hire: Hire, reason: str) -> None:
    """The row of a dead worker stays while it owns something."""
    address, elsewhere = unique("k"), unique("k")
    other, target = await actor.begin(), await actor.begin()
    item = laden(address, elsewhere, target, owner=actor.token, change=change())
    expected = Outcome.EXISTS
    if reason == "its id is taken":
        item = replace(item, instance_id=other.instance_id)
    elif reason == "a child's id is taken":
        item = replace(item, starts=(*item.starts, start(other.instance_id)))
    elif reason == "its owner is dead":
        dead = await hire()
        await dead.begin()
        await store.leave(dead.worker)
        item, expected = replace(item, create=replace(created(item), owner=dead.token)), Outcome.DEAD
    else:
        item, expected = replace(item, create=replace(created(item), owner=unique("nobody"))), Outcome.DEAD

    assert await actor.write(item) is expected
    assert await store.commit([start(), item, start()], worker=actor.token) == [
        Outcome.ACCEPTED, expected, Outcome.ACCEPTED,
    ]  # fmt: skip

    assert await nothing_of(store, replace(item, starts=item.starts[:2]))
    assert await signals_of(store, target.instance_id) == 0
    assert await is_there(store, item.instance_id) == (reason == "its id is taken")


async def test_one_that_nobody_keeps_needs_no_living_worker(actor: Actor, store: Store, hire: Hire) -> None:
    """Nobody else can know this life, so nobody is fenced off."""
    dead = await hire()
    await store.leave(dead.worker)
    resting = start(change=RESTS, interests=(wanting(unique("k")),))
    over = start(change=change(Status.COMPLETED))
    with_child = start(starts=(start(),))

    assert await store.commit([resting, over, with_child], worker=dead.token) == [Outcome.ACCEPTED] * 3
    assert await store.commit([start(change=RESTS, starts=(start(),))]) == [Outcome.ACCEPTED]


async def test_many_at_once_each_have_their_own(actor: Actor, store: Store) -> None:
    """Those that only listen, those that carry more, and those that are refused, in one batch with steps."""
    begun, taken = await actor.begin(), await actor.begin()
    listening = [start(change=RESTS, interests=(wanting(unique("k")),)) for _ in range(20)]
    kept = [start(owner=actor.token, change=change(), starts=(start(),)) for _ in range(5)]
    bare = [start(index=(("a", '"s:1"'),)) for _ in range(5)]
    batch: list[Item] = [*listening, *kept, step(begun, 2), *bare, append(taken, 2, change=change())]

    outcomes = await store.commit([*batch, start(begun.instance_id + "x")], worker=actor.token)
    refused = await store.commit([*listening, start(taken.instance_id, starts=(start(),))], worker=actor.token)

    assert outcomes == [Outcome.ACCEPTED] * (len(batch) + 1)
    assert refused == [Outcome.ACCEPTED] * len(listening) + [Outcome.EXISTS]
    for item in listening:
        (interest,) = item.interests
        assert await store.services.router.interests(interest.address) == [
            (Owner(item.instance_id, item.life), interest)
        ]
    assert all([await is_there(store, one.starts[0].instance_id) for one in kept])


async def test_of_several_that_create_one_id_one_is_accepted_whole(actor: Actor, store: Store, hire: Hire) -> None:
    actors = [actor, await hire(), await hire()]
    for _ in range(5):
        name, target = unique("i"), await actor.begin()
        items = [
            replace(laden(unique("k"), unique("k"), target, owner=one.token, change=change()), instance_id=name)
            for one in actors
        ]

        outcomes = await asyncio.gather(*(one.write(item) for one, item in zip(actors, items, strict=True)))

        assert sorted(outcomes) == [Outcome.ACCEPTED, Outcome.EXISTS, Outcome.EXISTS]
        for item, outcome in zip(items, outcomes, strict=True):
            assert await nothing_of(store, item) == (outcome is Outcome.EXISTS)
        assert len(await full_log(store, name)) == 1
        assert await signals_of(store, target.instance_id) == 1


WRONG: dict[str, Callable[[Append], Append]] = {
    "a later place": lambda one: replace(one, seq=2),
    "a row before": lambda one: replace(one, after="w"),
    "consumed messages": lambda one: replace(one, consumed=("d",)),
    "a change of a later run": lambda one: replace(one, change=change(run_from=2)),
    "a refusal of code": lambda one: replace(one, change=change(Status.STUCK, release=True, refused_by="c1")),
    "seen messages": lambda one: replace(one, change=change(seen=1)),
    "an owner that releases it": lambda one: replace(one, change=RESTS, create=replace(created(one), owner="somebody")),
    "an unmarked end": lambda one: replace(one, change=change(Status.COMPLETED)),
    "in the place of its own life": lambda one: replace(
        one, create=replace(created(one), replaces=Former(one.life, frozenset({Status.COMPLETED})))
    ),
    "in the place of another, as a child": lambda one: replace(
        one, starts=(start(replaces=Former(1, frozenset({Status.COMPLETED}))),)
    ),
    "a child that creates nothing": lambda one: replace(one, starts=(replace(start(), create=None),)),
    "a child of a later place": lambda one: replace(one, starts=(start(seq=2),)),
    "a child with an owner": lambda one: replace(one, starts=(start(owner="somebody"),)),
    "a child with a child": lambda one: replace(one, starts=(start(starts=(start(),)),)),
    "a child with a change": lambda one: replace(one, starts=(start(change=RESTS),)),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_no_first_append_can_be_is_refused_before_anything_is_written(
    actor: Actor, store: Store, wrong: str
) -> None:
    good = start()

    with pytest.raises(InternalError):
        await store.commit([good, WRONG[wrong](start())], worker=actor.token)

    assert not await is_there(store, good.instance_id)

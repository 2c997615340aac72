"""Claims: which worker gets an instance, when, and never two at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.records import Change, ClaimRequest, Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, start, step, unique
from romancy_conformance.contract.fire.contention import has_row_locks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

MINUTE = 60_000_000


async def test_a_start_without_owner_is_claimed_by_one(store: Store, hire: Hire, workflow_name: str) -> None:
    first, second = await hire(), await hire()
    item = start(workflow_name=workflow_name)
    assert await store.commit([item]) == [Outcome.ACCEPTED]

    (claimed,) = await first.claim()

    assert (claimed.instance_id, claimed.life, claimed.head, claimed.run_from) == (
        item.instance_id,
        item.life,
        1,
        1,
    )
    assert (claimed.status, claimed.code, claimed.crashes) == (Status.PENDING, "c1", 0)
    assert await second.claim() == []
    assert await first.claim() == []


async def test_an_owned_start_is_nobody_elses(actor: Actor, hire: Hire) -> None:
    await actor.begin()
    other = await hire()

    assert await other.claim() == []
    assert await actor.claim() == []


async def test_longest_due_first_and_no_more_than_asked(store: Store, actor: Actor, workflow_name: str) -> None:
    ids: list[str] = []
    for _ in range(6):
        item = start(workflow_name=workflow_name)
        await store.commit([item])
        ids.append(item.instance_id)

    assert [claimed.instance_id for claimed in await actor.claim(4)] == ids[:4]
    assert [claimed.instance_id for claimed in await actor.claim(4)] == ids[4:]


async def test_longest_due_first_also_among_several_workflows(store: Store, hire: Hire) -> None:
    names = [unique("flow"), unique("flow")]
    worker = await hire(**dict.fromkeys(names, "c1"))
    ids: list[str] = []
    for number in range(6):
        item = start(workflow_name=names[number % 2], instance_id=unique(f"i{9 - number}"))
        await store.commit([item])
        ids.append(item.instance_id)

    assert [claimed.instance_id for claimed in await worker.claim(4)] == ids[:4]
    assert [claimed.instance_id for claimed in await worker.claim(4)] == ids[4:]


@pytest.mark.parametrize("how", ["delivered", "delivered together", "sent by an append"])
async def test_a_message_leaves_a_due_instance_its_place(
    store: Store, actor: Actor, workflow_name: str, how: str
) -> None:
    """It has waited for its turn, and does not go to the end of the queue."""
    items: list[Append] = []
    for _ in range(4):
        items.append(start(workflow_name=workflow_name))
        await store.commit(items[-1:])
    first, second = items[:2]
    if how == "delivered":
        assert await store.deliver([delivery(first)]) == [Delivered.ACCEPTED]
    elif how == "delivered together":
        assert await store.deliver([delivery(first), delivery(second), delivery(first)]) == [Delivered.ACCEPTED] * 3
    else:
        sender = await actor.begin()
        assert await actor.write(append(sender, 2, deliveries=(delivery(first),))) is Outcome.ACCEPTED

    assert [claimed.instance_id for claimed in await actor.claim(3)] == [item.instance_id for item in items[:3]]


async def test_a_claim_tells_since_when_it_was_due_so_that_it_keeps_its_place(store: Store, actor: Actor) -> None:
    """Handed back at its former due time, an instance is claimed before those that fell due after it."""
    first, second = (start(workflow_name=next(iter(actor.workflows))) for _ in range(2))
    for item in (first, second):
        await store.commit([item])
    (claimed,) = await actor.claim(1)
    assert claimed.instance_id == first.instance_id
    assert 0 < claimed.due <= (await store.services.reading.census()).now

    back = change(Status.PENDING, release=True, wake_at=claimed.due)
    assert await actor.write(append(claimed, 2, change=back)) is Outcome.ACCEPTED

    assert [one.instance_id for one in await actor.claim(1)] == [first.instance_id]
    assert [one.due for one in await actor.claim(0, recover=True)] == [0]


async def test_only_known_workflows_are_claimed(store: Store, hire: Hire) -> None:
    known, unknown = unique("flow"), unique("flow")
    worker = await hire(**{known: "c1", unique("flow"): "c1"})
    items = [start(workflow_name=name) for name in (unknown, known, unknown)]
    await store.commit(items)

    assert [claimed.instance_id for claimed in await worker.claim()] == [items[1].instance_id]


async def test_due_instances_of_an_unknown_workflow_do_not_hide_the_known(store: Store, actor: Actor) -> None:
    await store.commit([start(workflow_name=unique("other")) for _ in range(50)])
    item = start(workflow_name=next(iter(actor.workflows)))
    await store.commit([item])

    assert [claimed.instance_id for claimed in await actor.claim(1)] == [item.instance_id]


async def test_a_due_instance_that_another_transaction_holds_stays_due(
    store: Store, actor: Actor, open_store: Callable[[], Awaitable[Store]], workflow_name: str
) -> None:
    """A claim passes over it, and its answer says so: nobody announces that the row is free again."""
    if not has_row_locks(store):
        pytest.skip(f"capability: {store.capabilities.name} locks no rows")
    held, later = start(workflow_name=workflow_name), start(workflow_name=workflow_name, delay=MINUTE)
    free = start(workflow_name=workflow_name)
    await store.commit([held, later, free])
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5)

    async with (await open_store()).services.sessions.begin() as session:
        await session.fetch_all(
            f"select instance_id from romancy_instances where instance_id = '{held.instance_id}' for update"  # noqa: S608 - an id of this suite's
        )
        first, second = await store.claim(request), await store.claim(request)

    assert [[free.instance_id], []] == [[one.instance_id for one in work.claimed] for work in (first, second)]
    assert [True, True] == [work.next_due is not None and work.next_due <= work.now for work in (first, second)]
    last = await store.claim(request)
    assert [held.instance_id] == [one.instance_id for one in last.claimed]
    assert last.next_due is not None
    assert 0 < last.next_due - last.now <= MINUTE


async def test_a_delayed_start_waits_and_is_announced(store: Store, actor: Actor, workflow_name: str) -> None:
    await store.commit([start(workflow_name=workflow_name, delay=MINUTE)])

    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5))

    assert work.claimed == []
    assert work.next_due is not None
    assert 0 < work.next_due - work.now <= MINUTE


async def test_a_start_is_due_at_its_moment(store: Store, actor: Actor, workflow_name: str) -> None:
    """A start for a moment that is over is due now: it does not come before what is due already."""
    waiting = start(workflow_name=workflow_name)
    assert await actor.write(waiting) is Outcome.ACCEPTED
    now = (await store.services.reading.census()).now
    parent = await actor.begin()
    moments = {"over": 1, "soon": now + MINUTE, "long": now - 1}
    alone = {name: start(workflow_name=workflow_name, at=at) for name, at in moments.items()}
    many = {name: start(workflow_name=workflow_name, at=at) for name, at in moments.items()}
    born = {name: start(workflow_name=workflow_name, at=at) for name, at in moments.items()}
    for item in alone.values():
        assert await store.commit([item]) == [Outcome.ACCEPTED]
    assert await store.commit([*many.values()]) == [Outcome.ACCEPTED] * 3
    assert await actor.write(append(parent, 2, starts=(*born.values(),))) is Outcome.ACCEPTED

    first = await actor.claim(1)
    rest = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=20))

    assert [waiting.instance_id] == [one.instance_id for one in first]
    due = {one[name].instance_id for one in (alone, many, born) for name in ("over", "long")}
    assert due == {one.instance_id for one in rest.claimed}
    assert now + MINUTE == rest.next_due
    for one in (alone, many, born):
        found = await store.read(one["soon"].instance_id, limit=0)
        assert found is not None
        assert now + MINUTE == found.instance.wake_at


async def test_the_nearest_of_many_is_announced(store: Store, actor: Actor, workflow_name: str) -> None:
    """In whatever order their rows were written."""
    items = [start(workflow_name=workflow_name, delay=(30 - number) * MINUTE) for number in range(29)]
    for item in items:
        await store.commit([item])

    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5))

    assert work.next_due is not None
    assert work.next_due - work.now <= 2 * MINUTE


async def test_many_are_claimed_longest_due_first(store: Store, actor: Actor, workflow_name: str) -> None:
    """In whatever order their rows were written."""
    now = (await store.services.reading.census()).now
    resting = [Change(status=Status.WAITING, seen=0, release=True, wake_at=now - number - 1) for number in range(60)]
    items = [start(workflow_name=workflow_name, change=one) for one in resting]
    assert set(await store.commit(items)) == {Outcome.ACCEPTED}

    assert [one.instance_id for one in await actor.claim(50)] == [one.instance_id for one in items[:9:-1]]


async def test_what_is_left_to_another_code_is_announced_for_when_its_grace_ends(
    store: Store, hire: Hire, workflow_name: str
) -> None:
    new = await hire(**{workflow_name: "new"})
    await store.commit([start(workflow_name=workflow_name, code="old")])
    codes = {workflow_name: "new"}

    work = await store.claim(ClaimRequest(worker=new.token, codes=codes, limit=5, leave=("old",), grace=MINUTE))

    assert work.claimed == []
    assert work.next_due is not None
    assert work.next_due <= work.now + MINUTE


async def test_what_was_left_to_another_code_for_long_stays_due_while_another_transaction_holds_it(
    store: Store, hire: Hire, open_store: Callable[[], Awaitable[Store]], workflow_name: str
) -> None:
    if not has_row_locks(store):
        pytest.skip(f"capability: {store.capabilities.name} locks no rows")
    new, item = await hire(**{workflow_name: "new"}), start(workflow_name=workflow_name, code="old")
    await store.commit([item])
    codes = {workflow_name: "new"}

    async with (await open_store()).services.sessions.begin() as session:
        await session.fetch_all(
            f"select instance_id from romancy_instances where instance_id = '{item.instance_id}' for update"  # noqa: S608 - an id of this suite's
        )
        work = await store.claim(ClaimRequest(worker=new.token, codes=codes, limit=5, leave=("old",), grace=-1))

    assert work.claimed == []
    assert work.next_due is not None
    assert work.next_due <= work.now


async def test_what_the_worker_does_not_know_is_not_announced(store: Store, actor: Actor, workflow_name: str) -> None:
    """Neither what is due, nor what will be due before its own: it would be woken for nothing."""
    other = unique("flow")
    await store.commit([start(workflow_name=other), start(workflow_name=other, delay=MINUTE)])
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5)
    alone = await store.claim(request)
    await store.commit([start(workflow_name=workflow_name, delay=2 * MINUTE)])

    beside = await store.claim(request)

    assert ([], None) == (alone.claimed, alone.next_due)
    assert beside.next_due is not None
    assert MINUTE < beside.next_due - beside.now <= 2 * MINUTE


async def test_an_instance_may_begin_asleep_or_ended(store: Store, actor: Actor, workflow_name: str) -> None:
    asleep = start(workflow_name=workflow_name, status=Status.WAITING, delay=None)
    ended = start(workflow_name=workflow_name, status=Status.FAILED, delay=None, error="at once")
    await store.commit([asleep, ended])

    assert await actor.claim(sweep=True) == []
    history = await store.read(ended.instance_id, limit=0)
    assert history is not None
    assert (history.instance.status, history.instance.error) == (Status.FAILED, "at once")
    answers = await store.deliver([delivery(asleep), delivery(ended)])
    assert answers == [Delivered.ACCEPTED, Delivered.CLOSED]
    assert [claimed.instance_id for claimed in await actor.claim()] == [asleep.instance_id]


async def test_a_released_instance_is_due_at_its_time(actor: Actor) -> None:
    soon, later, never = await actor.begin(), await actor.begin(), await actor.begin()
    now = (await actor.store.heartbeat(actor.worker)).now
    for item, wake_at in ((soon, now - 1), (later, now + MINUTE), (never, None)):
        sleep = append(item, 2, change=change(Status.WAITING, release=True, wake_at=wake_at))
        assert await actor.write(sleep) is Outcome.ACCEPTED

    assert [claimed.instance_id for claimed in await actor.claim()] == [soon.instance_id]


async def test_an_ended_instance_is_never_due(actor: Actor) -> None:
    begun = await actor.begin()
    await actor.write(append(begun, 2, change=change(Status.COMPLETED, wake_at=1, release=True)))

    assert await actor.claim(sweep=True) == []
    history = await actor.store.read(begun.instance_id, limit=0)
    assert history is not None
    assert (history.instance.owner, history.instance.wake_at, history.instance.last_seq) == (None, None, 2)


async def test_many_workers_share_without_overlap(store: Store, hire: Hire, workflow_name: str) -> None:
    workers = [await hire() for _ in range(6)]
    items = [start(workflow_name=workflow_name) for _ in range(120)]
    await store.commit(items)

    async def drain(worker: Actor) -> list[str]:
        got: list[str] = []
        while claimed := await worker.claim(7):
            got += [one.instance_id for one in claimed]
        return got

    taken = [one for got in await asyncio.gather(*map(drain, workers)) for one in got]
    for worker in workers:
        taken += await drain(worker)

    assert sorted(taken) == sorted(item.instance_id for item in items)


async def test_a_dead_worker_is_not_told_what_it_still_owns(actor: Actor) -> None:
    begun = await actor.begin()
    assert [begun.instance_id] == [claimed.instance_id for claimed in await actor.claim(recover=True)]
    await actor.store.deliver([delivery(begun)])

    await actor.store.leave(actor.worker)
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=10, recover=True)
    work = await actor.store.claim(request)

    assert ([], []) == (work.claimed, work.mail)


@pytest.mark.parametrize("limit", [0, 2, 10])
async def test_the_limit_counts_new_instances_and_owned_ones_come_in_addition(
    store: Store, actor: Actor, workflow_name: str, limit: int
) -> None:
    owned = {(await actor.begin()).instance_id for _ in range(3)}
    items: list[Append] = []
    for _ in range(4):
        items.append(start(workflow_name=workflow_name))
        await store.commit(items[-1:])

    claimed = [one.instance_id for one in await actor.claim(limit, recover=True)]

    assert owned == owned.intersection(claimed)
    assert [one for one in claimed if one not in owned] == [item.instance_id for item in items[:limit]]


async def test_a_dead_worker_claims_nothing(store: Store, actor: Actor, hire: Hire, workflow_name: str) -> None:
    other = await hire()
    await other.take_over(actor)
    await store.commit([start(workflow_name=workflow_name)])

    assert await actor.claim() == []
    assert len(await other.claim()) == 1


async def test_a_dead_worker_sweeps_nothing_up(actor: Actor, hire: Hire) -> None:
    dead, begun = await hire(), await actor.begin()
    assert await actor.write(append(begun, 2, change=change(Status.RUNNING, release=True))) is Outcome.ACCEPTED
    await dead.begin()
    await dead.store.leave(dead.worker)

    assert await dead.claim(sweep=True) == []

    history = await actor.store.read(begun.instance_id, limit=0)
    assert history is not None
    assert history.instance.wake_at is None
    assert [one.instance_id for one in await actor.claim(sweep=True)] == [begun.instance_id]


async def test_recovering_gives_back_what_is_owned(actor: Actor) -> None:
    """A claim whose answer was lost leaves instances owned by a worker that does not know it."""
    begun = await actor.begin()
    await actor.write(step(begun, 2))

    (claimed,) = await actor.claim(0, recover=True)

    assert (claimed.instance_id, claimed.head) == (begun.instance_id, 2)


async def test_a_log_that_comes_along_is_whole(store: Store, actor: Actor, hire: Hire) -> None:
    begun = await actor.begin()
    await actor.write(step(begun, 2, b"[2]"))
    await actor.write(append(begun, 3, b"[3]", change=change(release=True, wake_at=0)))
    (claimed,) = await (await hire()).claim()

    assert claimed.log in ((), tuple(row.body for row in await full_log(store, begun.instance_id)))
    assert claimed.head == 3


async def test_of_a_run_that_continued_only_its_own_log_comes_along(actor: Actor, hire: Hire) -> None:
    begun = await actor.begin()
    for seq in range(2, 9):
        await actor.write(step(begun, seq, b"[]"))
    renewed = change(run_from=9, input=b"[1]", release=True, wake_at=0)
    await actor.write(append(begun, 9, b"[9]", change=renewed))

    (claimed,) = await (await hire()).claim()

    assert (claimed.run_from, claimed.head) == (9, 9)
    assert claimed.log in ((), (b"[9]",))


@pytest.mark.parametrize("body", [b"[]", b"[" + b" " * SHORT_COMMIT_BYTES + b"]"], ids=["many", "long"])
async def test_a_log_that_is_not_short_stays_where_it_is(actor: Actor, hire: Hire, body: bytes) -> None:
    """A claim of many instances stays small, and the store returns a log whole or not at all."""
    begun = await actor.begin()
    last = SHORT_LOG_COMMITS + 1 if body == b"[]" else 2
    for seq in range(2, last):
        await actor.write(step(begun, seq, body))
    await actor.write(append(begun, last, body, change=change(release=True, wake_at=0)))

    (claimed,) = await (await hire()).claim()

    assert (claimed.head, claimed.log) == (last, ())


async def test_code_of_live_workers_is_left_to_them_for_a_while(store: Store, hire: Hire, workflow_name: str) -> None:
    old, new = await hire(**{workflow_name: "old"}), await hire(**{workflow_name: "new"})
    await store.commit([start(workflow_name=workflow_name, code="old")])

    assert await new.claim(leave=("old",), grace=MINUTE) == []
    assert len(await old.claim(leave=("new",), grace=MINUTE)) == 1


async def test_left_instances_are_taken_after_the_grace(store: Store, hire: Hire, workflow_name: str) -> None:
    new = await hire(**{workflow_name: "new"})
    await store.commit([start(workflow_name=workflow_name, code="old")])

    assert len(await new.claim(leave=("old",), grace=-1)) == 1


async def test_a_parked_instance_waits_for_fitting_code(hire: Hire, workflow_name: str) -> None:
    """D4: an instance parked by one code version is claimed by another that has not refused it, and does not flap."""
    bad, good = await hire(**{workflow_name: "bad"}), await hire(**{workflow_name: "good"})
    begun = await bad.begin()
    park = append(begun, 2, change=change(Status.STUCK, release=True, refused_by="bad", error="diverged"))
    assert await bad.write(park) is Outcome.ACCEPTED

    assert await bad.claim(sweep=True) == []
    assert await good.claim() == []
    (claimed,) = await good.claim(sweep=True)
    assert (claimed.instance_id, claimed.status) == (begun.instance_id, Status.STUCK)
    go_on = append(begun, 3, change=change(Status.WAITING, release=True, wake_at=1, code="good"))
    assert await good.write(go_on) is Outcome.ACCEPTED
    assert await bad.claim(sweep=True) == []
    assert len(await good.claim()) == 1


async def test_what_is_stranded_is_found_by_a_sweep(actor: Actor, hire: Hire) -> None:
    """A sweep finds a row without an owner that is never due although its status asks for work."""
    for status in (Status.RUNNING, Status.CANCELLING, Status.COMPENSATING):
        await sweep_up(actor, await hire(**actor.workflows), status)


async def sweep_up(actor: Actor, other: Actor, status: Status) -> None:
    """Strand an instance in this status, and check that a sweep of the other worker finds it and nothing else."""
    stranded, asleep, parked = await actor.begin(), await actor.begin(), await actor.begin()
    for item, rest in (
        (stranded, change(status, release=True)),
        (asleep, change(Status.WAITING, release=True)),
        (parked, change(Status.STUCK, release=True, refused_by="c1", error="diverged")),
    ):
        assert await actor.write(append(item, 2, change=rest)) is Outcome.ACCEPTED
    owned = await actor.begin()
    assert await actor.write(append(owned, 2, change=change(status))) is Outcome.ACCEPTED
    assert await other.claim() == []

    (claimed,) = await other.claim(sweep=True)

    assert (claimed.instance_id, claimed.status, claimed.head) == (stranded.instance_id, status, 2)
    assert await other.claim(sweep=True) == []
    history = await other.store.read(owned.instance_id, limit=0)
    assert history is not None
    assert history.instance.owner == actor.token


async def test_what_is_parked_is_left_to_who_knows_its_workflow(hire: Hire, workflow_name: str) -> None:
    """A sweep makes it due if the worker has other code of its workflow, not if it has such code of another one."""
    other = unique("flow")
    old, stranger, new = await hire(**{other: "c1"}), await hire(**{workflow_name: "c2"}), await hire(**{other: "c2"})
    begun = await old.begin()
    parked = change(Status.STUCK, release=True, refused_by="c1", error="diverged")
    assert await old.write(append(begun, 2, change=parked)) is Outcome.ACCEPTED

    assert await stranger.claim(sweep=True) == []
    history = await old.store.read(begun.instance_id, limit=0)
    assert history is not None
    assert history.instance.wake_at is None

    assert [one.instance_id for one in await new.claim(sweep=True)] == [begun.instance_id]


async def test_a_parked_instance_that_is_forgiven_is_due_for_everybody(hire: Hire, workflow_name: str) -> None:
    """An operator reports that the cause is gone: the same code may try again, and refuse it again."""
    bad = await hire(**{workflow_name: "bad"})
    begun = await bad.begin()
    park = change(Status.STUCK, release=True, refused_by="bad", error="diverged")
    assert await bad.write(append(begun, 2, change=park)) is Outcome.ACCEPTED
    manager = await hire()

    forgiven = append(begun, 3, change=change(Status.RUNNING, release=True, wake_at=1, forgive=True))
    assert await manager.write(forgiven) is Outcome.ACCEPTED

    (claimed,) = await bad.claim()
    assert (begun.instance_id, Status.RUNNING, 3) == (claimed.instance_id, claimed.status, claimed.head)
    assert await bad.write(append(begun, 4, change=park)) is Outcome.ACCEPTED
    assert await bad.claim(sweep=True) == []


async def test_the_row_shows_what_changed(actor: Actor) -> None:
    begun = await actor.begin(input=b'{"a":1}', parent="p")
    await actor.write(append(begun, 2, change=change(Status.FAILED, error="it broke")))

    history = await actor.store.read(begun.instance_id, limit=0)

    assert history is not None
    row = history.instance
    assert (row.status, row.error, row.input, row.parent) == (Status.FAILED, "it broke", b'{"a":1}', "p")
    assert row.created_at <= row.updated_at


async def test_a_run_that_continues_as_new_points_at_its_start(actor: Actor) -> None:
    """A14: the id and the seq numbering continue, and the input is that of the new run."""
    begun = await actor.begin(input=b"1")
    again = append(begun, 2, change=change(Status.WAITING, release=True, wake_at=1, run_from=2, input=b"2"))
    assert await actor.write(again) is Outcome.ACCEPTED

    (claimed,) = await actor.claim()

    history = await actor.store.read(begun.instance_id, after=claimed.run_from - 1)
    assert history is not None
    assert (claimed.run_from, history.instance.input, [row.seq for row in history.rows]) == (2, b"2", [2])

"""Pruning: everything that bears an ended instance's id goes at once, and nothing else does."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import ClaimRequest, Delivered, Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, created, delivery, full_log, start, step, unique
from romancy_conformance.contract.dialects import dialect_of
from romancy_conformance.contract.interleaving import statements

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
PORTION = 5000
"""Keys that one transaction may remove at most."""


async def end(actor: Actor, status: Status = Status.COMPLETED) -> str:
    """An ended instance."""
    begun = await actor.begin()
    assert await actor.write(append(begun, 2, change=change(status))) is Outcome.ACCEPTED
    return begun.instance_id


async def now(actor: Actor) -> int:
    """The database's time."""
    return (await actor.store.heartbeat(actor.worker)).now


async def test_ended_instances_go_by_age(actor: Actor, store: Store) -> None:
    old = [await end(actor) for _ in range(3)]
    cut = await now(actor) + 1
    running = await actor.begin()

    while await store.services.upkeep.prune(PruneRequest(ended_before=cut, limit=2)):
        pass

    assert [await store.read(instance_id) for instance_id in old] == [None, None, None]
    assert len(await full_log(store, running.instance_id)) == 1


async def test_a_call_removes_no_more_than_its_limit(actor: Actor, store: Store) -> None:
    for how in ("by age", "by id", "by both"):
        ended = [await end(actor, status) for status in (*ENDS, *ENDS[:2])]
        before = None if how == "by id" else await now(actor) + 1
        named = {"by age": [], "by id": ended, "by both": ended[-1:]}[how]
        request = PruneRequest(ended_before=before, instance_ids=tuple(named), limit=2)
        removed: list[int] = []
        left = [len(ended)]

        while left[-1]:
            removed.append(await store.services.upkeep.prune(request))
            left.append([await store.read(instance_id, limit=0) is not None for instance_id in ended].count(True))
            assert removed[-1] > 0

        assert ([2, 2, 1], [5, 3, 1, 0]) == (removed, left), how


async def test_dedupe_keys_are_forgotten_in_portions(actor: Actor, store: Store) -> None:
    """However many keys there are, each transaction that removes them is short."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    dialect_of(store)
    old, young = delivery(await actor.begin(), dedupe=unique("k")), delivery(await actor.begin(), dedupe=unique("k"))
    assert await store.deliver([young]) == [Delivered.ACCEPTED]
    begun = await store.read(old.instance_id, limit=0)
    assert begun is not None
    unit = f"'{old.instance_id}', {begun.instance.life}"
    keys = [old.dedupe, *(unique("k") for _ in range(2 * PORTION))]
    rows = ", ".join(f"({unit}, '{key}', 1)" for key in keys)
    insert = f"insert into romancy_seen (unit, life, dedupe, at) values {rows}"  # noqa: S608 - keys of our own
    async with store.services.sessions.begin() as session:
        await session.execute(insert)
        assert await session.commit(start()) is Outcome.ACCEPTED
    assert await store.deliver([old]) == [Delivered.DUPLICATE]

    names = await statements(store, store.services.upkeep.prune(PruneRequest(dedupe_before=2)))

    assert await store.deliver([old, young]) == [Delivered.ACCEPTED, Delivered.DUPLICATE]
    assert max(Counter(names).values()) > 2, names
    assert names.count("commit") > 2 or not store.capabilities.embedded, "each in a transaction of its own"


async def test_young_ones_stay(actor: Actor, store: Store) -> None:
    cut = await now(actor) - 1
    young = await end(actor)

    await store.services.upkeep.prune(PruneRequest(ended_before=cut))

    assert await store.read(young) is not None


async def test_what_ended_at_that_very_time_is_not_old(actor: Actor, store: Store) -> None:
    ended = await end(actor)
    found = await store.read(ended, limit=0)
    assert found is not None
    at = found.instance.updated_at

    assert [await store.services.upkeep.prune(PruneRequest(ended_before=before)) for before in (at, at + 1)] == [0, 1]


async def test_only_the_statuses_asked_for(actor: Actor, store: Store) -> None:
    failed, completed = await end(actor, Status.FAILED), await end(actor)

    removed = await store.services.upkeep.prune(
        PruneRequest(instance_ids=(failed, completed), statuses=(Status.COMPLETED,))
    )

    assert removed == 1
    assert await store.read(failed) is not None
    assert await store.read(completed) is None


async def test_of_the_named_what_changed_since_stays(actor: Actor, store: Store) -> None:
    ended = await end(actor)
    found = await store.read(ended, limit=0)
    assert found is not None

    async def prune(until: int) -> int:
        return await store.services.upkeep.prune(PruneRequest(instance_ids=(ended,), named_until=until))

    assert await prune(found.instance.updated_at - 1) == 0
    assert await store.read(ended) is not None
    assert await prune(found.instance.updated_at) == 1


async def test_an_open_instance_is_never_pruned(actor: Actor, store: Store) -> None:
    begun = await actor.begin()

    removed = await store.services.upkeep.prune(PruneRequest(instance_ids=(begun.instance_id,), statuses=tuple(Status)))

    assert removed == 0
    assert await store.read(begun.instance_id) is not None


async def test_a_new_life_meets_nothing_of_the_old_one(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await store.deliver([delivery(begun)])
    await actor.write(append(begun, 2, b'["old"]', change=change(Status.COMPLETED, seen=1)))
    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(begun.instance_id,))) == 1
    assert await store.read(begun.instance_id) is None

    reborn = start(begun.instance_id, workflow_name=created(begun).workflow_name, body=b'["new"]')
    assert await store.commit([reborn]) == [Outcome.ACCEPTED]

    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=5))
    assert [(one.life, one.head, one.signals) for one in work.claimed] == [(reborn.life, 1, 0)]
    assert work.mail == []
    assert [row.body for row in await full_log(store, begun.instance_id)] == [b'["new"]']


async def test_rows_of_former_runs_go(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    for seq in (2, 3):
        await actor.write(step(begun, seq))
    await actor.write(append(begun, 4, change=change(Status.RUNNING, run_from=4)))

    await store.services.upkeep.prune(PruneRequest())

    assert [row.seq for row in await full_log(store, begun.instance_id)] == [4]
    assert await actor.write(step(begun, 5)) is Outcome.ACCEPTED


async def continued(actor: Actor, instance_id: str | None = None) -> Append:
    """An instance of one row that continued as new: there are two rows of its former run."""
    begun = await actor.begin(instance_id)
    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
    assert await actor.write(append(begun, 3, change=change(Status.RUNNING, run_from=3))) is Outcome.ACCEPTED
    return begun


async def lost(actor: Actor) -> Append:
    """An instance of three rows whose own row was lost. What is left is there to be rebuilt."""
    store = actor.store
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun = await continued(actor)
    sql = f"delete from romancy_instances where instance_id = {store.capabilities.placeholder}"  # noqa: S608 - a placeholder
    async with store.services.sessions.begin() as session:
        assert await session.execute(sql, begun.instance_id) == 1
        assert await session.commit(start()) is Outcome.ACCEPTED
    return begun


async def test_rows_of_a_life_that_was_lost_are_not_those_of_a_former_run(actor: Actor, store: Store) -> None:
    """The id was taken again, and the new life continued as new."""
    old = await lost(actor)
    await continued(actor, old.instance_id)

    await store.services.upkeep.prune(PruneRequest())

    assert [row.seq for row in await full_log(store, old.instance_id)] == [3]
    mark = store.capabilities.placeholder
    sql = f"update romancy_log set at = at + 1 where instance_id = {mark} and life = {mark.replace('1', '2')}"  # noqa: S608
    async with store.services.sessions.begin() as session:
        assert await session.execute(sql, old.instance_id, old.life) == 3
        assert await session.commit(start()) is Outcome.ACCEPTED


async def test_a_takeover_continues_the_log_of_the_new_life_after_one_was_lost(actor: Actor, hire: Hire) -> None:
    other = await hire()
    old = await lost(other)
    await other.begin(old.instance_id)
    await other.store.leave(other.worker)

    assert old.instance_id in await actor.take_over(other)

    assert [row.seq for row in await full_log(actor.store, old.instance_id)] == [1, 2]
    (claimed,) = [one for one in await actor.claim() if one.instance_id == old.instance_id]
    assert claimed.head == 2


async def test_a_dead_worker_that_owns_nothing_loses_its_row(actor: Actor, hire: Hire) -> None:
    """Only such a worker, and whatever others own. A server keeps it for an hour: its last start may be under way."""
    store, idle, resting, owner = actor.store, await hire(), await hire(), await hire()
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    for one in (actor, owner):
        await one.begin()
    for gone in (owner, idle):
        await gone.store.leave(gone.worker)
    mark = store.capabilities.placeholder
    sql = f"update romancy_workers set beat_at = beat_at - 3600000000 where token = {mark}"  # noqa: S608 - a placeholder

    async def grown_older(token: str) -> int:
        """How many rows the worker has: they are an hour older now."""
        async with store.services.sessions.begin() as session:
            rows = await session.execute(sql, token)
            assert await session.commit(start()) is Outcome.ACCEPTED
            return rows

    young = 0 if store.capabilities.embedded else 1
    for expected in (young, 0):
        await store.services.upkeep.prune(PruneRequest())
        rows = [await grown_older(one.token) for one in (actor, resting, owner, idle)]
        assert [1, 1, 1, expected] == rows


@pytest.mark.parametrize("several", [1, 2])
async def test_a_dead_worker_that_owns_something_keeps_its_row(actor: Actor, hire: Hire, several: int) -> None:
    other = await hire()
    for _ in range(several):
        await other.begin()
    await other.store.leave(other.worker)

    await actor.store.services.upkeep.prune(PruneRequest())

    assert (await actor.see(other)).dead
    assert len(await actor.take_over(other)) == several

"""Leases: a worker lives by its beat, is declared dead by what another has seen, and stays dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import Host, Outcome
from romancy_conformance.contract.building import Actor, append, change, full_log, nonce, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


async def test_workers_see_each_other_beat(actor: Actor, hire: Hire) -> None:
    other = await hire()
    before = await actor.see(other)
    await other.store.heartbeat(other.worker)
    after = await actor.see(other)

    assert (before.worker_id, before.lease, before.dead) == (
        other.worker.worker_id,
        other.worker.lease,
        False,
    )
    assert after.beat == before.beat + 1


async def test_a_commit_beats_for_its_worker_alone(actor: Actor, hire: Hire) -> None:
    """Neither for others nor for who is dead, if it counts as a beat at all."""
    other, dead = await hire(), await hire()
    await dead.begin()
    await dead.store.leave(dead.worker)
    before = await actor.see(other), await actor.see(dead)

    assert await actor.store.commit([start()], worker=actor.token) == [Outcome.ACCEPTED]
    assert await dead.store.commit([start()], worker=dead.token) == [Outcome.ACCEPTED]
    for worker in (actor, dead):
        async with worker.store.services.sessions.begin() as session:
            assert await session.commit(start(), worker=worker.token) is Outcome.ACCEPTED

    assert before == (await actor.see(other), await actor.see(dead))


async def test_where_a_worker_runs_is_told(store: Store, actor: Actor, workflow_name: str) -> None:
    other = Actor(store, workflows={workflow_name: "c1"})
    host = Host(boot_id="b" * 36, pid_namespace="4026531836", pid=4_194_304, pid_start=2**53)
    await store.heartbeat(type(other.worker)(token=other.token, worker_id="w", lease=5, codes=("x", "y"), host=host))

    peer = await actor.see(other)

    assert (peer.host, peer.codes, peer.lease) == (host, ("x", "y"), 5)


async def test_a_leaving_worker_is_dead_at_once(actor: Actor, hire: Hire) -> None:
    other = await hire()
    begun = await other.begin()
    await other.store.leave(other.worker)

    assert (await actor.see(other)).dead
    assert not (await other.store.heartbeat(other.worker)).alive
    assert await other.write(step(begun, 2)) is Outcome.DEAD


async def test_a_dead_worker_with_nothing_left_is_no_longer_seen(actor: Actor, hire: Hire) -> None:
    other = await hire()
    await other.store.leave(other.worker)

    pulse = await actor.store.heartbeat(actor.worker)

    assert other.token not in [peer.token for peer in pulse.peers]


async def test_takeover_frees_everything_with_an_entry_in_each_log(actor: Actor, hire: Hire) -> None:
    other = await hire()
    begun = [await other.begin() for _ in range(7)]
    for item in begun[:3]:
        await other.write(step(item, 2))

    moved = await actor.take_over(other, limit=2)

    assert sorted(moved) == sorted(item.instance_id for item in begun)
    heads = [(await full_log(actor.store, item.instance_id))[-1] for item in begun]
    assert [row.seq for row in heads] == [3, 3, 3, 2, 2, 2, 2]
    assert all(row.body == b'[{"type":"owner"}]' for row in heads)
    claimed = await actor.claim(10)
    assert sorted((one.instance_id, one.crashes) for one in claimed) == sorted((i.instance_id, 1) for i in begun)


async def test_a_takeover_moves_no_more_at_once_than_it_was_asked_to(actor: Actor, hire: Hire) -> None:
    """A5: a takeover moves instances in chunks, so that no transaction locks everything a worker owned."""
    other = await hire()
    begun = {(await other.begin()).instance_id for _ in range(7)}
    peer = await actor.see(other)

    first = await actor.store.takeover(actor.token, peer, b'[{"type":"owner"}]', nonce(), limit=3)

    assert (3, True) == (len(set(first.moved) & begun), first.left)
    assert begun == {*first.moved, *await actor.take_over(other)}


async def test_a_worker_that_beat_meanwhile_is_left_alone(actor: Actor, hire: Hire) -> None:
    """D1: the store refuses to mark a worker dead whose heartbeat counter has changed since the caller read it."""
    other = await hire()
    begun = await other.begin()
    seen = await actor.see(other)
    await other.store.heartbeat(other.worker)

    answer = await actor.store.takeover(actor.token, seen, b"[]", unique("w"))

    assert answer.refused
    assert await other.write(step(begun, 2)) is Outcome.ACCEPTED


async def test_a_dead_worker_takes_nobody_over(actor: Actor, hire: Hire) -> None:
    victim, zombie = await hire(), await hire()
    await victim.begin()
    seen = await zombie.see(victim)
    await actor.take_over(zombie)

    assert (await zombie.store.takeover(zombie.token, seen, b"[]", unique("w"))).refused
    assert not (await actor.see(victim)).dead


async def test_taking_over_twice_changes_nothing_more(actor: Actor, hire: Hire) -> None:
    other = await hire()
    begun = await other.begin()
    peer = await actor.see(other)
    await actor.take_over(other)

    again = await actor.store.takeover(actor.token, peer, b"[]", unique("w"))

    assert (again.moved, again.left, again.refused) == ((), False, False)
    assert len(await full_log(actor.store, begun.instance_id)) == 2


async def test_the_former_owner_cannot_go_on(actor: Actor, hire: Hire) -> None:
    other = await hire()
    begun = await actor.begin()
    await other.take_over(actor)

    pulse = await actor.store.heartbeat(actor.worker)

    assert not pulse.alive
    for seq in (2, 3, 4):
        assert await actor.write(step(begun, seq)) in (Outcome.DEAD, Outcome.TAKEN)


async def test_crashes_count_only_while_the_log_does_not_grow(hire: Hire) -> None:
    """D3: an instance that made progress is not a suspect."""
    survivor = await hire()
    victim = await hire()
    begun = await victim.begin()
    await survivor.take_over(victim)
    counts: list[int] = []
    for progress in (False, False, True, False):
        victim = await hire()
        (claimed,) = await victim.claim()
        counts.append(claimed.crashes)
        if progress:
            await victim.write(step(begun, claimed.head + 1))
        await survivor.take_over(victim)
    (claimed,) = await survivor.claim()

    assert [*counts, claimed.crashes] == [1, 2, 3, 1, 2]


async def test_progress_takes_the_suspicion_away(hire: Hire) -> None:
    """D3: the crash count is reported only while the instance has written nothing since."""
    survivor, victim = await hire(), await hire()
    begun = await victim.begin()
    await survivor.take_over(victim)
    (suspect,) = await survivor.claim()
    again = await survivor.claim(0, recover=True)
    sleep = append(begun, suspect.head + 1, change=change(Status.WAITING, release=True, wake_at=1))
    assert await survivor.write(sleep) is Outcome.ACCEPTED

    (cleared,) = await survivor.claim()

    assert ([one.crashes for one in (suspect, *again)], cleared.crashes) == ([1, 1], 0)


async def test_waiting_instances_are_nobodys_and_stay_so(actor: Actor, hire: Hire) -> None:
    other = await hire()
    begun = await other.begin()
    await other.write(append(begun, 2, change=change(Status.WAITING, release=True)))

    assert await actor.take_over(other) == ()
    assert await actor.claim() == []
    assert len(await full_log(actor.store, begun.instance_id)) == 2


async def test_a_census_shows_who_lives_and_registers_nobody(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()
    await other.store.heartbeat(other.worker)

    census = await store.services.reading.census()

    seen = {peer.token: peer for peer in census.workers}
    assert {actor.token, other.token} <= set(seen)
    assert seen[other.token].started_at <= seen[other.token].beat_at <= census.now
    assert set(seen) == {peer.token for peer in (await store.services.reading.census()).workers}


async def test_a_census_shows_the_dead_that_own_something_and_no_others(store: Store, hire: Hire) -> None:
    owner, idle = await hire(), await hire()
    await owner.begin()
    for gone in (owner, idle):
        await gone.store.leave(gone.worker)

    seen = {peer.token: peer.dead for peer in (await store.services.reading.census()).workers}

    assert (True, False) == (seen.get(owner.token), idle.token in seen)

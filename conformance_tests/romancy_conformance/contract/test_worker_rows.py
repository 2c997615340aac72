"""Rows of workers: whose row is gone is dead, who is dead already is taken over, and others are left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import Outcome
from romancy_conformance.contract.building import full_log, nonce, start, step
from romancy_conformance.contract.fire.contention import has_row_locks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


async def test_a_worker_whose_row_is_gone_is_dead(actor: Actor, hire: Hire) -> None:
    """Although others have rows. It is not registered anew."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    other = await hire()
    sql = f"delete from romancy_workers where token = {actor.store.capabilities.placeholder}"  # noqa: S608
    async with actor.store.services.sessions.begin() as session:
        assert await session.execute(sql, other.token) == 1
        assert await session.commit(start(delay=None)) is Outcome.ACCEPTED

    pulse = await other.store.heartbeat(other.worker)

    assert not pulse.alive
    assert other.token not in [one.token for one in (await actor.store.heartbeat(actor.worker)).peers]


async def test_no_worker_is_its_own_peer(actor: Actor, hire: Hire) -> None:
    other = await hire()

    pulse = await actor.store.heartbeat(actor.worker)

    assert [one.token for one in pulse.peers] == [other.token]


async def test_who_has_left_is_taken_over_by_whoever_saw_it_before(actor: Actor, hire: Hire) -> None:
    """It beats a last time when it leaves."""
    other = await hire()
    begun = await other.begin()
    before = await actor.see(other)
    await other.store.leave(other.worker)

    answer = await actor.store.takeover(actor.token, before, b'["owner"]', nonce())

    assert (answer.refused, answer.moved) == (False, (begun.instance_id,))


async def test_a_takeover_waits_for_no_other_worker(
    actor: Actor, hire: Hire, open_store: Callable[[], Awaitable[Store]]
) -> None:
    if not has_row_locks(actor.store):
        pytest.skip(f"capability: {actor.store.capabilities.name} locks no rows")
    other, neighbour = await hire(), await hire()
    begun, before = await other.begin(), await actor.see(other)
    sql = f"select token from romancy_workers where token = '{neighbour.token}' for update"  # noqa: S608 - a token of this suite's

    async with (await open_store()).services.sessions.begin() as session:
        assert len(await session.fetch_all(sql)) == 1
        answer = await actor.store.takeover(actor.token, before, b'["owner"]', nonce())

    assert (answer.refused, answer.moved) == (False, (begun.instance_id,))


async def test_a_takeover_writes_behind_each_log_of_instances_with_one_life(actor: Actor, hire: Hire) -> None:
    other = await hire()
    short, long = [await other.begin(life=7) for _ in range(2)]
    for seq in (2, 3, 4):
        assert await other.write(step(long, seq)) is Outcome.ACCEPTED

    assert set(await actor.take_over(other)) == {short.instance_id, long.instance_id}

    for begun, last in ((short, 2), (long, 5)):
        rows = await full_log(actor.store, begun.instance_id)
        assert [row.seq for row in rows] == list(range(1, last + 1))
        found = await actor.store.read(begun.instance_id, limit=0)
        assert found is not None
        assert found.instance.last_seq == last

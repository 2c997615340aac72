"""Workers that freeze, vanish, stop in order, or multiply."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, UsageError
from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.faults.program import faulty_holder
from romancy_conformance.contract.building import start
from romancy_conformance.process_control import freeze, freezes, thaw

if TYPE_CHECKING:
    from romancy_conformance.behaviour.faults.field import Field, Process

pytestmark = pytest.mark.anyio

LEASE = 2.0
AT_ONCE = 20.0
"""Seconds until another worker looks, on a machine busy with something else."""
SOME = ("--slots", "8")
"""One worker takes so many of 20 instances, and leaves some to the others."""
LONG = 2.0
"""Seconds of an activity that is still running when its worker dies."""


async def freeze_idle(field: Field, worker: Process) -> None:
    """Stop it, but not in the middle of a write: on a file, no other process could write then."""
    while True:
        freeze(worker.process)
        writing = asyncio.create_task(field.store.commit([start(status=Status.COMPLETED, delay=None)]))
        done, _ = await asyncio.wait({writing}, timeout=1.5)
        if not done:
            thaw(worker.process)
        assert await writing == [Outcome.ACCEPTED]
        if done:
            return


@freezes
@pytest.mark.parametrize("attempts", [1, 2], ids=["in a step", "before a session"])
async def test_a_frozen_worker_thaws_and_changes_nothing(field: Field, attempts: int) -> None:
    frozen = await field.worker("--lease", str(LEASE))
    await field.start(["ice"], 2, 2.0)
    await field.begun(attempts)
    await freeze_idle(field, frozen)
    other = await field.worker("--lease", str(LEASE))
    await field.all_ended()
    before = await field.log("ice")
    thaw(frozen.process)
    assert await other.stopped() == 0

    # It has noticed, dropped its run and continues to claim as a new incarnation.
    await field.start(["after"], 2, 0.05)
    await field.all_ended()

    assert frozen.alive
    assert before == await field.log("ice")
    assert len(await field.owners("ice")) == 1
    await field.check(["ice", "after"], 2, interrupted=1, by=[frozen, other])


@freezes
@pytest.mark.backends(
    "postgres", "mysql", "mariadb", "tidb", "vitess"
)  # in SQLite, all others wait for a frozen session
async def test_a_worker_frozen_in_its_session_thaws_and_its_effects_are_undone(field: Field) -> None:
    frozen = await field.worker("--lease", str(LEASE))
    handle = await field.app.start(faulty_holder.options(instance_id="held"), 1.0)
    await field.begun(1)
    freeze(frozen.process)
    other = await field.worker("--lease", str(LEASE))
    assert await handle.result(timeout=150) == 1
    before = await field.log("held")
    thaw(frozen.process)
    assert await other.stopped() == 0

    await field.start(["after"], 2, 0.05)  # only the one that was frozen can do it
    await field.all_ended()

    assert frozen.alive
    assert before == await field.log("held")
    async with field.store.services.sessions.begin() as session:
        rows = await session.fetch_all("select activity from effects where instance = 'held'")
    assert len(rows) == 1


async def kill_at_work(field: Field, victim: Process) -> list[str]:
    """Kill it as soon as it has begun something; return what it has begun."""
    async with asyncio.timeout(60):
        while not (hers := {entry.instance_id for entry in field.ledger.read() if entry.pid == victim.pid}):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    victim.kill()
    return sorted(hers)


async def test_a_worker_of_another_machine_is_missed_within_its_lease(field: Field) -> None:
    workers = [await field.worker("--lease", str(LEASE), "--elsewhere", *SOME) for _ in range(2)]
    await field.acquainted(workers)
    ids = [f"far-{number}" for number in range(20)]
    await field.start(ids, 1, LONG)
    missed = await kill_at_work(field, workers[0])
    killed = await field.now()
    late = asyncio.create_task(lateness(field, missed))
    await field.all_ended()

    bound = LEASE + 2 + await late
    waited = [await waited_since(killed, field, one) for one in missed]
    print(f"{len(missed)} taken over after {max(waited):.2f} s, {bound:.2f} s are allowed")
    assert max(waited) <= bound
    await field.check(ids, 1, interrupted=len(ids), by=workers)


async def lateness(field: Field, ids: list[str]) -> float:
    """Return how slow the machine is: the worst time of a short sleep and four answers of the database.

    A successor needs the processor too, and as many answers: one to see that a lease has ended, one to report it.
    """
    worst = 0.0
    while not all([await field.taken_over(one) for one in ids]):
        begun = time.monotonic()
        await asyncio.sleep(0.02)
        for _ in range(4):
            await field.now()
        worst = max(worst, time.monotonic() - begun - 0.02)
    return 2 * worst


async def waited_since(killed: int, field: Field, instance_id: str) -> float:
    """Return how long after that moment it was taken over, by the database's clock."""
    *_, at = await field.taken_over(instance_id)
    return (at - killed) / 1_000_000


async def test_a_dead_neighbour_is_replaced_at_once(field: Field) -> None:
    """A worker does not wait for the lease of ten minutes of a neighbour that it knew."""
    lost, other = [await field.worker("--lease", "600", *SOME) for _ in range(2)]
    ids = [f"near-{number}" for number in range(20)]
    await field.start(ids, 1, LONG)
    missed = await kill_at_work(field, lost)
    killed = await field.now()
    await field.all_ended()

    waited = [await waited_since(killed, field, one) for one in missed]
    print(f"{len(missed)} taken over after {max(waited):.2f} s")
    assert max(waited) < AT_ONCE
    assert other.alive
    await field.check(ids, 1, interrupted=len(ids), by=[lost])


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_worker_with_a_name_is_killed_and_started_again_at_once(field: Field, where: str) -> None:
    """F28: its former incarnation is no rival, on this machine or, like a container, on another one each time."""
    options = ["--worker-id", "the-one", *(["--elsewhere", "--lease", str(LEASE)] if where == "elsewhere" else [])]
    lost = await field.worker(*options)
    ids = [f"named-{number}" for number in range(5)]
    await field.start(ids, 1, LONG)
    await field.begun(5)
    lost.kill()
    again = await field.worker(*options)
    await field.all_ended()

    assert again.alive
    assert [1] * 5 == [len(await field.taken_over(one)) for one in ids]
    await field.check(ids, 1, interrupted=5, by=[lost, again])


async def test_an_orderly_stop_hands_everything_on(field: Field) -> None:
    first = await field.worker("--lease", "60", "--drain", "60")
    ids = [f"handed-{number}" for number in range(10)]
    await field.start(ids, 3, 2.5)  # leaves the other one time to start
    await field.begun(10)
    second = await field.worker("--lease", "60")

    assert await first.stopped() == 0
    stopped = time.monotonic()
    await field.all_ended()

    assert time.monotonic() - stopped < 50
    assert second.alive
    # Running attempts were finished, the rest was released in an append: nothing began twice, no worker was taken
    # over.
    assert sum(entry.what == "begin" for entry in field.ledger.read()) == len(ids) * 6
    assert {owner for id in ids for owner in await field.owners(id)} == {""}
    await field.check(ids, 3, interrupted=0, by=[])


async def test_two_workers_of_one_name(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[], worker_id="the-one") as app:
        with pytest.raises(UsageError, match="the-one"):
            await Romancy(storage_url, workflows=[], worker_id="the-one").__aenter__()
        assert (await app.list_instances()).instances == []
    async with Romancy(storage_url, workflows=[], worker_id="the-one"):
        pass

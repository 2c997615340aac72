"""Workers that freeze, vanish, stop in order, or multiply."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, UsageError
from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.faults.program import faulty_holder
from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy_conformance.behaviour.faults.field import Field, Process

pytestmark = pytest.mark.anyio

LEASE = 2.0
SOAK = bool(os.environ.get("ROMANCY_SOAK"))


async def freeze(field: Field, worker: Process) -> None:
    """Stop it, but not in the middle of a write: if the database is a file, nobody else could write then."""
    while True:
        worker.send(signal.SIGSTOP)
        writing = asyncio.create_task(field.store.commit([start(status=Status.COMPLETED, delay=None)]))
        done, _ = await asyncio.wait({writing}, timeout=1.5)
        if not done:
            worker.send(signal.SIGCONT)
        assert await writing == [Outcome.ACCEPTED]
        if done:
            return


@pytest.mark.parametrize("attempts", [1, 2], ids=["in a step", "before a session"])
async def test_a_frozen_worker_thaws_and_changes_nothing(field: Field, attempts: int) -> None:
    frozen = await field.worker("--lease", str(LEASE))
    await field.start(["ice"], 2, 2.0)
    await field.begun(attempts)
    await freeze(field, frozen)
    other = await field.worker("--lease", str(LEASE))
    await field.all_ended()
    before = await field.log("ice")
    frozen.send(signal.SIGCONT)
    assert await other.stopped() == 0

    # It has noticed, dropped its run and goes on claiming as a new incarnation.
    await field.start(["after"], 2, 0.05)
    await field.all_ended()

    assert frozen.alive
    assert before == await field.log("ice")
    assert len(await field.owners("ice")) == 1
    await field.check(["ice", "after"], 2, interrupted=1)


@pytest.mark.backends("postgres", "mysql", "mariadb")  # in SQLite all others wait for a session that is frozen
async def test_a_worker_frozen_in_its_session_thaws_and_its_effects_are_undone(field: Field) -> None:
    frozen = await field.worker("--lease", str(LEASE))
    handle = await field.app.start(faulty_holder.options(instance_id="held"), 1.0)
    await field.begun(1)
    frozen.send(signal.SIGSTOP)
    other = await field.worker("--lease", str(LEASE))
    assert await handle.result(timeout=150) == 1
    before = await field.log("held")
    frozen.send(signal.SIGCONT)
    assert await other.stopped() == 0

    await field.start(["after"], 2, 0.05)  # only the one that was frozen can do it
    await field.all_ended()

    assert frozen.alive
    assert before == await field.log("held")
    async with field.store.session() as session:
        rows = await session.fetch_all("select activity from effects where instance = 'held'")
    assert len(rows) == 1


async def test_a_worker_of_another_machine_is_missed_within_its_lease(field: Field) -> None:
    lost = await field.worker("--lease", str(LEASE), "--elsewhere")
    ids = [f"far-{number}" for number in range(10)]
    await field.start(ids, 2, 1.0)
    await field.begun(10)
    await field.worker("--lease", str(LEASE), "--elsewhere")
    lost.kill()
    killed = time.monotonic()

    async with asyncio.timeout(LEASE + 20):  # who looks needs the processor, which others may need too
        while not await field.owners(ids[0]):  # noqa: ASYNC110 - another process takes it over
            await asyncio.sleep(0.05)
    print(f"taken over after {time.monotonic() - killed:.2f} s")
    await field.all_ended()

    await field.check(ids, 2, interrupted=10)


async def test_a_dead_neighbour_is_replaced_at_once(field: Field) -> None:
    lost = await field.worker("--lease", "60")
    await field.start(["near"], 2, 0.2)
    await field.begun(1)
    other = await field.worker("--lease", "60")
    lost.kill()
    killed = time.monotonic()
    await field.all_ended()

    assert time.monotonic() - killed < 45  # less than the lease, which nobody waits for
    assert other.alive
    await field.check(["near"], 2, interrupted=1)


async def test_an_orderly_stop_hands_everything_on(field: Field) -> None:
    first = await field.worker("--lease", "60", "--drain", "60")
    ids = [f"handed-{number}" for number in range(10)]
    await field.start(ids, 3, 2.5)  # the other one has time to come
    await field.begun(10)
    second = await field.worker("--lease", "60")

    assert await first.stopped() == 0
    stopped = time.monotonic()
    await field.all_ended()

    assert time.monotonic() - stopped < 50
    assert second.alive
    # What ran was let end, what was left was given back in an append: nothing began twice, nobody was taken over.
    assert sum(entry.what == "begin" for entry in field.ledger.read()) == len(ids) * 6
    assert {owner for id in ids for owner in await field.owners(id)} == {""}
    await field.check(ids, 3, interrupted=0)


async def test_two_workers_of_one_name(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[], worker_id="the-one") as app:
        with pytest.raises(UsageError, match="the-one"):
            await Romancy(storage_url, workflows=[], worker_id="the-one").__aenter__()
        assert (await app.list_instances()).instances == []
    async with Romancy(storage_url, workflows=[], worker_id="the-one"):
        pass


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_many_workers_with_random_kills(field: Field, capsys: pytest.CaptureFixture[str]) -> None:
    workers, count, most_kills = (8, 5_000, 200) if SOAK else (3, 120, 4)
    ids = [f"many-{number:04}" for number in range(count)]
    alive = [await field.worker() for _ in range(workers)]
    seed = random.randrange(1 << 32)
    chance, kills, begun = random.Random(seed), 0, time.monotonic()
    await field.start(ids, 2, 0.05)
    ended = asyncio.create_task(field.all_ended(3000))
    while not ended.done() and kills < most_kills:
        await asyncio.wait({ended}, timeout=chance.uniform(0.2, 1.0))
        alive.pop(chance.randrange(workers)).kill()
        kills += 1
        alive.append(await field.worker())
    await ended

    took, again = time.monotonic() - begun, await field.check(ids, 2, interrupted=kills * count)
    pids = {entry.pid for entry in field.ledger.read()}
    with capsys.disabled():
        print(
            f"\n{field.url.partition(':')[0]}, seed {seed}: {count} workflows, {workers} workers, {kills} kills in "
            f"{took:.1f} s: every one ended once, transactional effects once each, {again} activities in flight again; "
            f"{len(pids)} processes had a share"
        )
    assert all(worker.alive for worker in alive)
    assert kills > 0
    if SOAK:  # few workflows may all have ended with the first worker before another one looks
        assert len(pids) > workers / 2

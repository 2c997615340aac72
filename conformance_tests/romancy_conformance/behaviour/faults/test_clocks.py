"""Jumps of a worker's and the database's clock: no worker is declared dead, and no due time is lost."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from romancy.core import Input
from romancy.status import Status
from romancy_conformance.behaviour.faults.account import out_of_line
from romancy_conformance.behaviour.faults.program import faulty_naps
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.building import start
from romancy_conformance.process_control import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_conformance.behaviour.faults.field import Field, Process

pytestmark = pytest.mark.anyio

HOUR = 3600
LEASE = 6.0
"""A machine that stands still for less makes no worker look dead."""
NAP = 2.5
"""Long enough for an instance to be released meanwhile."""
_PUT_CLOCK = """
create or replace function romancy_now() returns bigint language sql volatile as
$$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint + {} $$
"""


async def start_naps(field: Field, label: str) -> list[str]:
    """Start instances that sleep."""
    ids = [f"{label}-{number}" for number in range(10)]
    await field.app.start_many([faulty_naps.options(instance_id=one).bind(2, NAP) for one in ids])
    return ids


async def asleep(field: Field) -> None:
    """Wait until a worker has begun each of them."""

    async def so() -> bool:
        return not (await field.app.list_instances(status=["pending", "running"], limit=1)).instances

    await until(so)


async def check(field: Field, workers: Sequence[Process], ids: Sequence[str]) -> None:
    """Check that each instance ended once, that no log's time goes back, and that no worker was taken over."""
    assert all(worker.alive for worker in workers)
    assert [] == out_of_line(field.ledger.read(), ["faulty_step:1", "faulty_step:2"])
    for one in ids:
        times = [event.at for event in await field.log(one) if isinstance(event, Input)]
        assert times == sorted(times)
        assert set(await field.owners(one)) <= {""}
        assert await field.status(one) == "completed"


@signals
@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_the_clock_of_a_worker_jumps(field: Field, seconds: int) -> None:
    """The worker's clock matters where the database runs in its process, and nowhere else."""
    workers = [await field.worker("--lease", str(LEASE), "--jump", str(seconds)) for _ in range(2)]
    before = await start_naps(field, "before")
    await asleep(field)
    for worker in workers if field.store.capabilities.embedded else workers[:1]:
        worker.send(signal.SIGUSR1)
    after = await start_naps(field, "after")
    await field.all_ended()

    await check(field, workers, [*before, *after])


@pytest.mark.backends("postgres")  # a test cannot set the clock of the others
@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_the_clock_of_the_database_jumps(field: Field, seconds: int) -> None:
    """While it is set back, earlier sleepers sleep until it reaches their time; later ones are not affected."""
    workers = [await field.worker("--lease", str(LEASE)) for _ in range(2)]
    before = await start_naps(field, "before")
    await asleep(field)
    async with field.store.services.sessions.begin() as session:
        await session.execute(_PUT_CLOCK.format(seconds * 1_000_000))
        await session.commit(start(status=Status.COMPLETED, delay=None))
    await field.acquainted(workers)
    after = await start_naps(field, "after")
    for one in after if seconds < 0 else [*after, *before]:
        await field.app.handle(one, faulty_naps).result(timeout=60)

    await check(field, workers, after if seconds < 0 else [*after, *before])
    assert {owner for one in before for owner in await field.owners(one)} <= {""}

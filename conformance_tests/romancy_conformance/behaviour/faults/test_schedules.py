"""Schedules whose workers are killed, frozen and told to stop: each tick has one run."""

from __future__ import annotations

import asyncio
import os
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.behaviour.faults.harm import harmed
from romancy_conformance.behaviour.faults.program import faulty_line

if TYPE_CHECKING:
    from romancy import ScheduleHandle
    from romancy_conformance.behaviour.faults.field import Field

pytestmark = pytest.mark.anyio

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
TICKS, APART = (1000, 1.0) if SOAK else (100, 0.1)


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_each_tick_has_one_run_whatever_becomes_of_the_workers(
    field: Field, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 32)
    workers = [await field.worker("--lease", "3") for _ in range(3)]
    first = datetime.now(UTC) + timedelta(seconds=2)
    moments = [first + timedelta(seconds=APART * number) for number in range(TICKS)]
    handle = await field.app.schedule("beat", faulty_line.bind(0, 0.0), at=moments, overlap="allow", catchup="all")
    over = asyncio.create_task(all_decided(field, handle))
    harms = await harmed(field, workers, random.Random(seed), over)
    await over
    await field.app.terminate(handle.instance_id)  # its runs go on
    await field.all_ended()

    found = [one.instance_id async for one in field.app.iter_instances(workflow_name="faulty_line")]
    with capsys.disabled():
        print(f"\n{field.url.partition(':')[0]}, seed {seed}: {TICKS} ticks, {harms} workers killed, frozen or drained")
    assert sorted(found) == sorted(f"beat@{moment.isoformat().replace('+00:00', 'Z')}" for moment in moments)
    assert harms > 1


async def all_decided(field: Field, handle: ScheduleHandle) -> None:
    """Wait until the schedule has nothing more to start."""
    await field.app.report(
        handle.instance_id,
        wait=lambda told: "next" not in told["progress"] and told["progress"].get("started", 0) >= TICKS,
        timeout=3000,
    )

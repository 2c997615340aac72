"""Workers are killed repeatedly, each before it has done much: no innocent instance is parked, and all end."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy_conformance.chaos import ledger
from romancy_conformance.chaos.programs import Node, Program
from romancy_conformance.chaos.worker import Job
from romancy_conformance.chaos.workers import Nursery
from romancy_conformance.chaos.workflows import WORKFLOWS, call_of
from romancy_conformance.process_control import forks

if TYPE_CHECKING:
    from pathlib import Path

    from romancy_conformance.behaviour.faults.field import Field

SOAK = bool(os.environ.get("ROMANCY_SOAK"))

pytestmark = [pytest.mark.anyio, pytest.mark.soak, forks, pytest.mark.timeout(1800 if SOAK else 300)]

INNOCENT, KILLS, WORKERS = (400, 400, 4) if SOAK else (100, 8, 2)
PAUSE = 0.3
"""Average seconds between two kills."""


def line(number: int) -> Program:
    """Activities and sleeps in turn, some of them longer than most workers live."""
    chance = random.Random(number)
    nodes = [Node("step", "a"), Node("nap", seconds=chance.uniform(0, 0.5)), Node("step", "b")]
    return Program(f"innocent-{number}", (Node("seq", of=(*nodes, Node("nap", seconds=0.1), Node("step", "c"))),))


async def test_workers_killed_at_random_park_nobody(field: Field, tmp_path: Path) -> None:
    programs = [line(number) for number in range(INNOCENT)]
    job = Job(url=field.url, log=str(tmp_path / "workers.log"), lease=10.0)
    chance = random.Random("storm")
    await ledger.begin(field.store)
    async with Romancy(field.url, worker=False, workflows=WORKFLOWS) as app, Nursery() as nursery:
        await app.start_many([call_of(program) for program in programs])
        crew = [await nursery.make(job) for _ in range(WORKERS)]
        for _ in range(KILLS):
            await asyncio.sleep(chance.expovariate(1 / PAUSE))
            place = chance.randrange(WORKERS)
            await crew[place].kill()
            crew[place] = await nursery.make(job)
        await field.all_ended(1200)
        ends = Counter([one.status.value async for one in app.iter_instances(instance_id="innocent-")])
        for worker in crew:
            await worker.kill()

    assert ends == {"completed": INNOCENT}

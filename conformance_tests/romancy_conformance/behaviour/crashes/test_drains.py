"""Workers killed at each write of their stopping, one after another: all they had ends once, nothing is stranded."""

from __future__ import annotations

import os
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.core import TERMINAL
from romancy.storage.backends import create_store
from romancy.storage.records import PruneRequest
from romancy_conformance.behaviour.crashes.__main__ import create_table
from romancy_conformance.behaviour.crashes.drained import RESULTS, WORKFLOWS, Shift
from romancy_conformance.behaviour.crashes.forking import Workshop
from romancy_conformance.invariants import sweep
from romancy_conformance.process_control import forks

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, forks]

MODULE = "romancy_conformance.behaviour.crashes.drained"
KILLED = -9
SOAK = bool(os.environ.get("ROMANCY_SOAK"))
LEAST = 4
"""Commits of a worker that stops in the middle of a shift."""


def points() -> Iterator[tuple[str, str, bool]]:
    """Yield where to kill: a write, the moment, and whether in haste. Before a write is after the one before it."""
    for moment in ("before", "after") if SOAK else ("before",):
        for hasty in (False, True) if SOAK else (False,):
            for name in ("commit", "claim") if SOAK else ("commit",):
                yield name, moment, hasty
    yield "commit", "after", True
    yield "heartbeat", "before", False
    yield "heartbeat", "after", True


async def kill_stopping(workshop: Workshop, url: str) -> tuple[list[str], int, list[str]]:
    """Return the names of the shifts, how many of them died at a commit, and what went wrong."""
    shifts: list[str] = []
    wrong: list[str] = []
    commits = 0
    for name, moment, hasty in points():
        numbers = count(1) if SOAK or (name, hasty) == ("commit", False) else [1]
        for number in numbers:
            fail = f"{name}:{moment}:{number}"
            shifts.append(f"shift{len(shifts)}")
            job = Shift(url=url, name=shifts[-1], fail=fail, hasty=hasty)
            status = await workshop.run(job)
            commits += status == KILLED and name == "commit"
            if status not in (0, KILLED):
                wrong.append(f"{fail}: it ended with {status}")
            if status != KILLED:
                break
    if status := await workshop.run(Shift(url=url)):
        wrong.append(f"the last one ended with {status}")
    return shifts, commits, wrong


@pytest.mark.timeout(1800 if SOAK else 300)
async def test_a_worker_killed_at_each_write_of_its_stopping(shared_url: str) -> None:
    await create_table(shared_url)
    store = create_store(shared_url)
    await store.open()
    await store.services.upkeep.prune(PruneRequest(ended_before=1 << 60))  # the rows that came with the table
    with Workshop(MODULE) as workshop:
        shifts, commits, wrong = await kill_stopping(workshop, shared_url)
    async with Romancy(shared_url, worker=False, workflows=WORKFLOWS) as app:
        for shift in shifts:
            for name, (_, expected) in RESULTS.items():
                handle = app.handle(f"{shift}-{name}")
                if (value := await handle.result(timeout=30)) != expected:
                    wrong.append(f"{handle.instance_id} ended with {value!r}")
                if (ends := sum(isinstance(event, TERMINAL) for event in await app.history(handle.instance_id))) != 1:
                    wrong.append(f"{handle.instance_id} ended {ends} times")
    async with store.services.sessions.begin() as session:
        rows = await session.fetch_all("select instance from effects")
    wrong += map(str, await sweep(store, {kind.name: kind for kind in WORKFLOWS}))
    await store.close()

    assert [] == wrong
    writers = Counter(f"{shift}-{name}" for shift in shifts for name in ("steps", "commits"))
    assert writers == Counter(row["instance"] for row in rows)
    assert commits >= LEAST

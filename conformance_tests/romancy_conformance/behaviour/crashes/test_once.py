"""Workers killed at each of their writes, and in the middle of payments: no payment begins twice, none is hidden."""

from __future__ import annotations

import os
from collections import Counter
from itertools import count
from pathlib import Path

import msgspec
import pytest

from romancy import Romancy, Status
from romancy.core import ActivityCompleted, ActivityFailed, ActivityScheduled, CompensationCompleted, WorkflowFailed
from romancy_conformance.behaviour.crashes.forking import Workshop
from romancy_conformance.behaviour.crashes.once import WORKFLOWS, Once, lines
from romancy_conformance.process_control import forks

pytestmark = [pytest.mark.anyio, forks]

MODULE = "romancy_conformance.behaviour.crashes.once"
KILLED = -9
SOAK = bool(os.environ.get("ROMANCY_SOAK"))
STEP = 1 if SOAK else 3
LEAST = 6
"""Commits of both workflows."""


async def one_death(workshop: Workshop, app: Romancy, job: Once, wrong: list[str]) -> bool:
    """Let one process die and another one go on. Returns whether it died, and notes what is wrong."""
    status = await workshop.run(job)
    again = msgspec.structs.replace(job, fail="", dies_in="")
    last = status if status != KILLED else await workshop.run(again)
    found = await judge(app, job)
    wrong += [f"{job.fail or job.dies_in}: {what}" for what in ([f"it ended with {last}"] if last else []) + found]
    return status == KILLED


async def judge(app: Romancy, job: Once) -> list[str]:
    """Return what is wrong with two workflows that have ended."""
    begun = Counter(lines(Path(job.ledger)))
    wrong = [
        f"{kind} {key} began {times} times" for (kind, key), times in begun.items() if times > 1 and kind != "unpay"
    ]
    for instance_id in (job.instance_id, f"{job.instance_id}-child", f"{job.instance_id}-fails"):
        log = await app.history(instance_id)
        asked = {event.id for event in log if isinstance(event, ActivityScheduled)}
        done = {event.id for event in log if isinstance(event, ActivityCompleted)}
        unknown = {event.id for event in log if isinstance(event, ActivityFailed) and event.unknown}
        if asked != done | unknown:
            wrong.append(f"{instance_id}: {asked - done - unknown} has no end")
        keys = {key for kind, key in begun if kind != "unpay"}
        wrong += [
            f"{instance_id}/{one} is done and has not begun" for one in done if f"{instance_id}/{one}" not in keys
        ]
    log = await app.history(f"{job.instance_id}-fails")
    if not any(isinstance(event, CompensationCompleted) for event in log):
        wrong.append("what may have been paid was not undone")
    wrong += [f"left unknown: {event.unknown}" for event in log if isinstance(event, WorkflowFailed) and event.unknown]
    paid = await app.handle(job.instance_id).result()
    rows = [row async for row in app.iter_instances() if row.instance_id.startswith(job.instance_id)]
    if {row.status for row in rows} != {Status.COMPLETED, Status.FAILED} or set(paid) - {"paid", "unknown"}:
        wrong.append(f"they ended as {[(row.instance_id, row.status) for row in rows]}, paid {paid}")
    return wrong


@pytest.mark.timeout(1800 if SOAK else 300)
async def test_payments_of_workers_that_are_killed(shared_url: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    kills: Counter[str] = Counter()

    def job(name: str, *, dies_in: str = "", fail: str = "") -> Once:
        return Once(url=shared_url, instance_id=name, ledger=str(tmp_path / name), dies_in=dies_in, fail=fail)

    with Workshop(MODULE) as workshop:
        async with Romancy(shared_url, worker=False, workflows=WORKFLOWS) as app:
            for kind in ("async", "plain", "undone", "unpay"):
                kills[kind] += await one_death(workshop, app, job(f"once-in-{kind}", dies_in=kind), wrong)
            for moment in ("before", "after"):
                for number in count(1, STEP):
                    dies = job(f"once-{moment}-{number:03}", fail=f"commit:{moment}:{number}")
                    if not await one_death(workshop, app, dies, wrong):
                        break
                    kills[moment] += 1

    assert [] == wrong
    assert [1, 1, 1, 1] == [kills[kind] for kind in ("async", "plain", "undone", "unpay")]
    assert min(kills["before"], kills["after"]) * STEP >= LEAST

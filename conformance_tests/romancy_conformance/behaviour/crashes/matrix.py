"""Plays the matrix: in each case, the worker of one workflow is killed and restarted until it ends; then an audit."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from romancy import Romancy, UsageError
from romancy.registry import Registry
from romancy.storage.records import PruneRequest
from romancy_conformance.behaviour.crashes.audit import Audit
from romancy_conformance.behaviour.crashes.ledger import Ledger
from romancy_conformance.behaviour.crashes.worker import PLAYED, WorkflowJob, at_pace
from romancy_conformance.invariants import sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.crashes.forking import Workshop
    from romancy_conformance.workflows import Scenario

__all__ = ["Matrix", "Tally"]

_KILLED = -9
_MOST_KILLS = 60
_LEASE = 30.0
_TAKING_OVER = (
    "commit:before:2",  # dies as the owner of what it has started
    "takeover:before:1",
    "takeover:after:1",
    "claim:before:1",
    "claim:after:1",  # dies as its owner too
    "heartbeat:before:1",
    "heartbeat:after:1",
    "takeover:after:1",
    "takeover:after:2",  # one is left of two that own nothing and the owner
)
"""Points that every worker passes before it can continue what a dead one owned; each of them is used once."""


class Tally(Struct):
    """The figures that are counted and printed."""

    cases: int = 0
    runs: int = 0
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    stuck: int = 0
    slowest_recovery: float = 0.0
    """Seconds from the start of the last process to the end of the workflow."""
    slowest_takeover: float = 0.0
    """Seconds by the database's clock from a dead worker's last log entry to the first of the worker that took over."""
    complaints: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.runs} runs, {self.kills} kills, lost {self.lost}, "
            f"duplicated {self.duplicated}, stuck {self.stuck}, slowest recovery {self.slowest_recovery:.2f} s, "
            f"slowest takeover {self.slowest_takeover:.2f} s"
        )


class Matrix:
    """The cases on one database, one after another."""

    def __init__(self, url: str, folder: Path, workshop: Workshop, app: Romancy, store: Store) -> None:
        self.tally = Tally()
        self._url = url
        self._folder = folder
        self._workshop = workshop
        self._app = app
        self._store = store
        self._numbers = count(1)

    async def at_every_write(self, name: str, moments: Iterable[str] = ("before", "after")) -> None:
        """Kill the worker of this workflow once at each of its commits, each time in a new run."""
        for moment in moments:
            for number in count(1):
                if not await self.case(name, [f"commit:{moment}:{number}"]):
                    break

    async def at_each_in_turn(self, name: str, fail: str = "commit:after:2") -> None:
        """Kill every worker of one instance at the same point of its life, until none reaches that point.

        The point is after its second commit: the first commit of a worker that tries a suspect alone records this.
        """
        await self.case(name, [fail] * _MOST_KILLS)

    async def in_a_takeover(self, name: str) -> None:
        """Kill each worker that takes the instance over, before and after each of the writes that this requires."""
        kills = await self.case(name, list(_TAKING_OVER))
        if kills != len(_TAKING_OVER):
            self.tally.complaints.append(f"{name}: {kills} of {len(_TAKING_OVER)} died on the way to it")

    async def in_a_delivery(self) -> None:
        """Kill a sender of signals before one is delivered and after: the signal is not there, or there once."""
        name = "collects_signals"
        job, audit = self._new_case(name)
        kills = 0
        for fail, tell, dies in (
            ("commit:after:1", (), True),
            ("deliver:before:1", (("number", 7),), True),
            ("deliver:after:3", (("number", 1), ("number", 2), ("number", 3)), True),
            ("", (), False),
        ):
            status = await self._workshop.run(msgspec.structs.replace(job, fail=fail, tell=tell))
            self.tally.runs += 1
            kills += status == _KILLED
            if status != (_KILLED if dies else 0):
                audit.stuck.append(f"who was to die at {fail or 'no point'} ended with {status}")
        self.tally.kills += kills
        await self._judge(f"{name} at its deliveries", audit, job.second)

    async def case(self, name: str, fails: list[str]) -> int:
        """Run the workflow with these kills, one process after another, and audit it; return the number of kills."""
        job, audit = self._new_case(name)
        outside = asyncio.create_task(self._outside(PLAYED[name], job))
        try:
            kills = await self._until_it_ends(job, fails, audit)
        finally:
            outside.cancel()
            await asyncio.gather(outside, return_exceptions=True)
        await self._judge(f"{name} {fails[0]} ×{len(fails)}", audit, job.second)
        return kills

    def _new_case(self, name: str) -> tuple[WorkflowJob, Audit]:
        scenario = PLAYED[name]
        number = next(self._numbers)
        instance_id = "main" if len(scenario.children) == 0 else f"case-{number}"
        job = WorkflowJob(
            url=self._url,
            scenario=name,
            instance_id=f"{instance_id}-{number}",
            ledger=str(self._folder / f"ledger-{number}"),
            lease=_LEASE,
            second=0.02 if scenario.cancel_at is not None or "slow" in scenario.durations else 0.003,
        )
        return job, Audit(scenario, job.instance_id, Ledger(Path(job.ledger)), self._app, self._store)

    async def _judge(self, what: str, audit: Audit, second: float) -> None:
        await audit.at_the_end()
        with at_pace(second):
            audit.wrong += map(str, await sweep(self._store, Registry.collect().workflows))
        if audit.slowest_takeover > _LEASE / 2:
            audit.wrong.append(
                f"it was taken over after {audit.slowest_takeover:.1f} s, as if the lease were waited for"
            )
        self._count(what, audit)
        await self.clear()

    async def _until_it_ends(self, job: WorkflowJob, fails: list[str], audit: Audit) -> int:
        kills = 0
        for fail in [*fails, ""]:
            begun = time.monotonic()
            status = await self._workshop.run(msgspec.structs.replace(job, fail=fail))
            self.tally.runs += 1
            if status == _KILLED:
                kills += 1
                self.tally.kills += 1
                await audit.after_a_kill()
                continue
            if kills:
                self.tally.slowest_recovery = max(self.tally.slowest_recovery, time.monotonic() - begun)
            if status:
                audit.stuck.append(f"the worker ended with {status}")
            break
        return kills

    async def _outside(self, scenario: Scenario, job: WorkflowJob) -> None:
        """Send the input from outside, at its time after the instance was first seen."""
        acts: list[tuple[float, str, object]] = list(scenario.events)
        if scenario.cancel_at is not None:
            acts.append((scenario.cancel_at, "", None))
        if not acts:
            return
        while await self._store.read(job.instance_id, limit=0) is None:  # noqa: ASYNC110 - another process brings it
            await asyncio.sleep(0.005)
        begun = time.monotonic()
        for at, name, data in sorted(acts, key=lambda act: act[0]):
            await asyncio.sleep(begun + min(at, 100) * job.second - time.monotonic())
            with suppress(UsageError):  # it has already ended
                if name:
                    await self._app.signal(job.instance_id, name, data)
                else:
                    await self._app.cancel(job.instance_id)

    async def clear(self) -> None:
        """Remove every instance that has ended."""
        while await self._store.services.upkeep.prune(PruneRequest(ended_before=1 << 60)):
            pass

    def _count(self, what: str, audit: Audit) -> None:
        tally = self.tally
        tally.cases += 1
        tally.slowest_takeover = max(tally.slowest_takeover, audit.slowest_takeover)
        tally.lost += len(audit.lost)
        tally.duplicated += len(audit.duplicated)
        tally.stuck += len(audit.stuck)
        found = [*audit.wrong, *audit.lost, *audit.duplicated, *audit.stuck]
        tally.complaints += [f"{what}: {complaint}" for complaint in found]

"""Playing the matrix: each case is one workflow whose worker is killed, restarted until it ends, and then audited."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec import Struct, field

from romancy import Romancy, UsageError
from romancy.storage.records import PruneRequest
from romancy_conformance.behaviour.crashes.audit import Audit
from romancy_conformance.behaviour.crashes.ledger import Ledger
from romancy_conformance.behaviour.crashes.worker import PLAYED, Job

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from romancy.storage.protocol import Store
    from romancy_conformance.workflows import Scenario

__all__ = ["Matrix", "Tally", "Workshop"]

_KILLED = -9
_MOST_KILLS = 60


class Tally(Struct):
    """What is counted and printed."""

    cases: int = 0
    runs: int = 0
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    stuck: int = 0
    slowest_recovery: float = 0.0
    """Seconds from the start of the process that went on to the end of the workflow."""
    complaints: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.runs} runs, {self.kills} kills, lost {self.lost}, "
            f"duplicated {self.duplicated}, stuck {self.stuck}, slowest recovery {self.slowest_recovery:.2f} s"
        )


class Workshop:
    """Where workers are made: a process that has imported everything and forks one for each job."""

    def __init__(self) -> None:
        module = "romancy_conformance.behaviour.crashes.worker"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    async def run(self, job: Job) -> int:
        """Run one worker to its end; how it ended."""
        return await asyncio.to_thread(self._ask, msgspec.json.encode(job).decode())

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


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
        """Kill the worker of this workflow once at each of its commits, in a run of its own each time."""
        for moment in moments:
            for number in count(1):
                if not await self.case(name, [f"commit:{moment}:{number}"]):
                    break

    async def at_each_in_turn(self, name: str, fail: str = "commit:after:2") -> None:
        """Kill every worker of one instance at the same point of its life, until none comes that far.

        After its second commit: the first of a worker that tries a suspect alone is the note that it does.
        """
        await self.case(name, [fail] * _MOST_KILLS)

    async def case(self, name: str, fails: list[str]) -> int:
        """Play the workflow with these kills, one process after another, and audit it; how many kills there were."""
        scenario = PLAYED[name]
        number = next(self._numbers)
        instance_id = "main" if len(scenario.children) == 0 else f"case-{number}"
        job = Job(
            url=self._url,
            scenario=name,
            instance_id=f"{instance_id}-{number}",
            ledger=str(self._folder / f"ledger-{number}"),
            second=0.02 if scenario.cancel_at is not None or "slow" in scenario.durations else 0.003,
        )
        audit = Audit(scenario, job.instance_id, Ledger(Path(job.ledger)), self._app, self._store)
        outside = asyncio.create_task(self._outside(scenario, job))
        try:
            kills = await self._until_it_ends(job, fails, audit)
        finally:
            outside.cancel()
            await asyncio.gather(outside, return_exceptions=True)
        await audit.at_the_end()
        self._count(f"{name} {fails[0]} ×{len(fails)}", audit)
        await self.clear()
        return kills

    async def _until_it_ends(self, job: Job, fails: list[str], audit: Audit) -> int:
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

    async def _outside(self, scenario: Scenario, job: Job) -> None:
        """Do what the outside does, at its time after the instance was first seen."""
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
            with suppress(UsageError):  # it has ended already
                if name:
                    await self._app.signal(job.instance_id, name, data)
                else:
                    await self._app.cancel(job.instance_id)

    async def clear(self) -> None:
        """Remove every instance that has ended."""
        while await self._store.prune(PruneRequest(ended_before=1 << 60)):
            pass

    def _count(self, what: str, audit: Audit) -> None:
        tally = self.tally
        tally.cases += 1
        tally.lost += len(audit.lost)
        tally.duplicated += len(audit.duplicated)
        tally.stuck += len(audit.stuck)
        found = [*audit.wrong, *audit.lost, *audit.duplicated, *audit.stuck]
        tally.complaints += [f"{what}: {complaint}" for complaint in found]

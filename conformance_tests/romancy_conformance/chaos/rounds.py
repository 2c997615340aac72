"""A round: start programs in every possible way, apply faults to workers and servers, and judge the result."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from romancy import InstanceNotFoundError, Romancy, StorageUnavailableError, UsageError
from romancy.built_in import with_built_in
from romancy.engine.surroundings import here
from romancy.query import one_of
from romancy.serialization import Codecs
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.chaos import ledger
from romancy_conformance.chaos.announced import judge_arrivals
from romancy_conformance.chaos.echoing import echo_cancellations
from romancy_conformance.chaos.faults import Crew, Database, Served, plan
from romancy_conformance.chaos.judge import Finding, Judge, read_log
from romancy_conformance.chaos.kept import Kept
from romancy_conformance.chaos.mailing import send_mail
from romancy_conformance.chaos.oracle import Expected, foretell
from romancy_conformance.chaos.plain import OUTSIDE
from romancy_conformance.chaos.programs import RETRIED, UNUSUAL, Program, every, generate, keeping_places
from romancy_conformance.chaos.relaying import arrivals
from romancy_conformance.chaos.shapes.catalogue import SHAPES, workflows_of
from romancy_conformance.chaos.shapes.sealed import Sealing
from romancy_conformance.chaos.shapes.throng import Throng
from romancy_conformance.chaos.stage import stage
from romancy_conformance.chaos.starting import Renewal, start_by_name
from romancy_conformance.chaos.worker import Job
from romancy_conformance.chaos.workflows import WORKFLOWS, call_of, chaos_starter
from romancy_conformance.invariants import sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from romancy.query import FilterValue
    from romancy_conformance.chaos.workers import Makes

__all__ = ["WAYS", "Plan", "Round", "Told"]

T = TypeVar("T")

_WEIGHTS = {
    "client": 3, "many": 2, "delay": 2, "session": 2, "worker": 3, "crowded": 2, "named": 2, "signal": 2, "anew": 2,
}  # fmt: skip
WAYS = frozenset(_WEIGHTS)
"""How a program is started: by an app without a worker, alone, in a batch or for later; in a session of an activity;
by a worker; by a worker that holds few instances at a time; by its name; by its first signal, if it has one; in the
place of an instance that was ended before it did anything.
"""
_MORE_RETRIES = 100
"""Retries beyond the planned ones, so that a program that fails too often ends its round."""
_LOOKS = 0.05
"""How often logs are looked into for progress, in shares of the patience."""
_OVER = (*TERMINAL_STATUSES, Status.STUCK)


class Plan(Struct, frozen=True, kw_only=True):
    """The parameters of a round."""

    seed: str
    programs: int = 30
    seconds: float = 12.0
    workers: int = 3
    lease: float = 3.0
    patience: float = 90.0
    """Seconds without any progress after which unfinished instances count as stranded."""
    kills: int | None = None
    """Most workers to kill; after five owners in a row died, an instance is suspected of killing them."""
    pauses: tuple[float, float] = (0.2, 1.2)
    """The shortest and the longest time between two faults, in seconds."""
    deadly: int = 1
    """By how much more often than usual a worker is killed."""
    without: frozenset[str] = UNUSUAL
    shapes: frozenset[str] = frozenset()
    instances: int = 0
    """Instances of these shapes, besides the programs."""
    kept: Kept = Kept()
    """What of all this is played. What follows from the seed is the same for what is left."""


class Told(Struct):
    """The result of a round."""

    seed: str
    programs: int
    instances: int
    faults: Counter[str]
    seconds: float
    findings: list[Finding]

    @property
    def kills(self) -> int:
        return self.faults["kill"] + self.faults["server-kill"]

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "no faults"
        found = Counter(finding.kind for finding in self.findings)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())) or "nothing"
        return f"{self.programs} programs, {self.instances} instances, {faults}, {self.seconds:.1f} s; found {kinds}"


class Round:
    """One round on a fresh database."""

    def __init__(self, told: Plan, url: str, folder: Path, nursery: Makes, database: Database | None = None) -> None:
        self._plan = told
        self._url = url
        self._folder = folder
        self._outbox = folder / "outbox.jsonl"
        chance = random.Random(f"round {told.seed}")
        self._jobs = 0
        self._nursery = nursery
        self._database = database
        ways = [way for way in _WEIGHTS if way not in told.without]
        self._ways = chance.choices(ways, [_WEIGHTS[way] for way in ways], k=told.programs)
        self._numbers = told.kept.programs_of(range(told.programs))
        self.programs = [
            generate(f"{told.seed}-{number}", f"{told.seed}-{number}", told.without) for number in self._numbers
        ]
        self.ways = [self._ways[number] for number in self._numbers]
        self.faults = plan(
            chance,
            told.seconds,
            told.workers,
            lease=told.lease,
            databases=frozenset() if database is None else database.faults,
            without=told.without,
            kills=told.kills,
            pauses=told.pauses,
            deadly=told.deadly,
        )
        self.expected: dict[str, Expected] = {}
        for program in self.programs:
            self.expected |= foretell(program)
        self._kept_places = sum(map(keeping_places, self.programs))
        self._for_workers = {"worker": self._those("worker"), "crowded": self._those("crowded")}
        self._starters = {f"{program.path}.s": program for program in self._those("session")}
        self._outside: set[asyncio.Task[None]] = set()
        self._throng = Throng(told.seed, told.shapes, told.instances, folder, told.kept.instances)
        self._old = "changed" in self._throng.shapes
        self._renewed = {program.path: asyncio.Event() for program in self._those("anew")}
        self._to_retry = {program.path for program in self.programs if program.ending in RETRIED}
        self._to_cancel = {program.path for program in self.programs if program.ending in {"cancelled", "recalled"}}

    async def play(self) -> Told:
        """Play the round, and judge it."""
        begun = stage.moment()
        async with AsyncExitStack() as stack:
            self._store = create_store(self._url)
            await self._store.open()
            stack.push_async_callback(self._store.close)
            await ledger.begin(self._store)
            workflows: tuple[Any, ...] = (*WORKFLOWS, *workflows_of(sealed=False))
            self._app = await stack.enter_async_context(
                Romancy(self._url, worker=False, workflows=workflows, connect_timeout=60)
            )
            workflows = workflows_of(sealed=True)
            sealing = Romancy(self._url, worker=False, workflows=workflows, codecs=[Sealing()], connect_timeout=60)
            apps = {False: self._app, True: await stack.enter_async_context(sealing)}
            self._stranger = await stack.enter_async_context(
                Romancy(self._url, worker=False, workflows=[], connect_timeout=60)
            )
            workers = self._plan.kept.workers or self._plan.workers
            faults = self._plan.kept.faults_of(self.faults, workers)
            crew = Crew(self._nursery, self.job, workers, self._database)
            await crew.begin()
            stack.push_async_callback(crew.end)
            self._from_outside()
            stack.push_async_callback(self._stop_outside)
            patience = self._plan.patience
            throng = asyncio.create_task(self._throng.play(apps, self._store, patience))
            await asyncio.gather(crew.strike(faults), self._start_all(), self._deploy(crew))
            await crew.settle()
            await self._start_missing()
            await self._until_over(crew)
            while not throng.done():
                await crew.look()
                await asyncio.wait([throng], timeout=0.5)
            await throng
            instances = await self._insist(self._instances)
            await self._until_relayed(crew)
            judge = Judge(self._store, self.expected, self._starters, self._acted_outside())
            findings = await judge.judge({id: status for id, (status, _) in instances.items()})
            judge_arrivals(self.expected, arrivals(self._outbox), judge.find)
            findings += await self._throng.judge(crew.struck, crew.died, lease=self._plan.lease, patience=patience)
            findings += await self._violations()
            for instance_id in {finding.instance for finding in findings}:
                await self._keep_log(instance_id)
            findings += [Finding("crew", self._plan.seed, text) for text in crew.ended]
        seconds = stage.moment() - begun
        count = len(instances) + self._throng.instances
        return Told(self._plan.seed, len(self.programs), count, crew.counts, seconds, findings)

    def describe(self, instance: str) -> str:
        """Describe the program of a finding, and how it was started."""
        for program, way in zip(self.programs, self.ways, strict=True):
            if instance in {each.path for each in every(program)} | {f"{program.path}.s"}:
                return f"started by {way}: {program}"
        return self._throng.describe(instance) or "no program"

    # ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _those(self, way: str) -> list[Program]:
        return [program for program, how in zip(self.programs, self.ways, strict=True) if how == way]

    def job(self) -> Job:
        """Return the job of the next worker: some start programs, some hold few of them.

        Few are a handful beside those that keep their places until others have had one.
        """
        self._jobs += 1
        chance = random.Random(f"job {self._jobs} {self._plan.seed}")
        left = self._for_workers
        way = "crowded" if chance.random() < 0.5 and left["crowded"] else "worker"
        starts = tuple(left[way][:6])
        del left[way][:6]
        crowded, few = bool(starts) and way == "crowded", chance.random() < 0.2
        return Job(
            url=self._database.wire.url(self._url) if isinstance(self._database, Served) else self._url,
            log=str(self._folder / "workers.log"),
            lease=self._plan.lease,
            outbox=str(self._outbox),
            max_live=self._kept_places + (2 if crowded else 4) if crowded or few else 10_000,
            sticky=chance.choice((0, 2, 1000, 1000)),
            drain=chance.choice((0.1, 0.5, 2.0)),
            starts=starts,
            seals=any(SHAPES[name].sealed for name in self._throng.shapes),
            old=self._old,
        )

    async def _deploy(self, crew: Crew) -> None:
        """Replace the code of the workers, one after another, in the middle of the round."""
        await asyncio.sleep(self._plan.seconds / 2)
        if self._old:
            self._old = False
            await crew.roll_over()

    # ── calls from outside ──────────────────────────────────────────────────────────────────────────────────────

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call from outside, and repeat it while the database is away."""
        while True:
            try:
                return await call()
            except StorageUnavailableError:
                await asyncio.sleep(0.1)

    async def _start(self, calls: list[Any]) -> None:
        await self._insist(lambda: self._app.start_many(calls))

    async def _start_all(self) -> None:
        """Start all programs over the first two thirds of the time, each at its own time."""
        pause = self._plan.seconds / max(len(self._ways), 1) * 2 / 3
        programs, many, passed = dict(zip(self._numbers, self.programs, strict=True)), list[Any](), 0
        for number, way in enumerate(self._ways):
            await asyncio.sleep(pause)
            program = programs.get(number)
            if way == "many":
                passed += 1
                many += [] if program is None else [call_of(program)]
            elif program is not None:
                await self._start_one(program, way)
            if many and passed % 4 == 0:
                await self._start(many)
                many = []
        await self._start(many)

    async def _start_one(self, program: Program, way: str) -> None:
        if way == "client":
            await self._start([call_of(program)])
        elif way == "delay":
            chance = random.Random(f"delay {program.path}")
            delay = chance.uniform(0.2, 2.0)
            moment = datetime.fromtimestamp(here().wall() / 1e9 + delay, UTC)
            await self._start([call_of(program, at=moment) if chance.random() < 0.5 else call_of(program, delay=delay)])
        elif way == "session":
            starter = chaos_starter.options(instance_id=f"{program.path}.s")
            await self._start([starter.bind(msgspec.to_builtins(program))])
        elif way == "named":
            await self._insist(functools.partial(start_by_name, self._stranger, program))
        elif way == "signal" and not program.signals:
            await self._start([call_of(program)])
        elif way == "anew":
            await self._insist(Renewal(self._app, program))
            self._renewed[program.path].set()

    async def _start_missing(self) -> None:
        """Start the programs whose workers died before they started them."""
        await self._start([call_of(one) for one in self._those("worker") + self._those("crowded")])

    def _from_outside(self) -> None:
        everybody = [each for program in self.programs for each in every(program)]
        talks = [self._tell(each) for each in everybody if each.signals]
        mails = [send_mail(self._app, each, self._renewed.get(each.path)) for each in everybody if each.mail]
        echoes = [echo_cancellations(self._store, program) for program in self.programs if program.failures > 1]
        for talk in (*talks, *mails, *echoes, self._cancel(), self._retry()):
            self._outside.add(asyncio.create_task(talk))

    async def _stop_outside(self) -> None:
        for task in self._outside:
            task.cancel()
        ends = await asyncio.gather(*self._outside, return_exceptions=True)
        if errors := [end for end in ends if isinstance(end, Exception)]:
            raise ExceptionGroup("a sender outside ended by itself", errors)

    async def _tell(self, program: Program) -> None:
        """Send a workflow its signals, each once it exists and the one before has arrived; some are all sent twice."""
        chance = random.Random(program.path)
        if program.path in self._renewed:
            await self._renewed[program.path].wait()  # the instance before it would receive the signal
        starts = program.path in {each.path for each in self._those("signal")}
        for index, (name, number) in enumerate(program.signals * 2 if chance.random() < 0.3 else program.signals):
            await asyncio.sleep(chance.uniform(0, 0.5))
            id = f"{index % len(program.signals)}"
            while True:
                try:
                    if starts:
                        await self._app.signal_with_start(call_of(program), name, number, id=id)
                    else:
                        await self._app.signal(program.path, name, number, id=id)
                    break
                except (InstanceNotFoundError, StorageUnavailableError):
                    await asyncio.sleep(0.2)
                except UsageError:  # it has ended, which the judge will report if it is wrong
                    return

    async def _cancel(self) -> None:
        """Cancel each program that waits for its cancellation."""
        left, reason = self._to_cancel, "as the program says"
        while left:
            await asyncio.sleep(0.3)
            try:
                ready = left & {row.instance for row in await ledger.read(self._store) if row.key == "ready"}
                if len(ready) > 1:
                    left.difference_update(await self._app.cancel_many(_paths(ready), reason=reason))
                for path in ready & left:
                    await self._app.cancel(path, reason=reason)
                    left.discard(path)
            except StorageUnavailableError:
                continue

    async def _retry(self) -> None:
        """Retry each program that has failed as planned, once or several times; it is not over before that."""
        most = sum(program.failures for program in self.programs) + _MORE_RETRIES
        while self._to_retry and most > 0:
            await asyncio.sleep(0.3)
            # Before it is renewed, the instance there is another one.
            there = {path for path in self._to_retry if path not in self._renewed or self._renewed[path].is_set()}
            try:
                if len(there) > 1:
                    most -= len(await self._app.retry_many(_paths(there), unsure="undone"))
                if cancelled := there - self._to_cancel:
                    paths = _paths(cancelled)
                    most -= len(await self._app.retry_many(paths, status="cancelled", unsure="undone"))
                for path in sorted(there & self._to_retry - self._to_cancel):
                    found = await self._app.get_instance(path)
                    if found is not None and found.status in (Status.FAILED, Status.CANCELLED):
                        most -= 1
                        # What did not answer wrote in its session only, which was rolled back.
                        await self._app.retry(path, unsure="undone")
                    elif found is not None and found.status in _OVER:
                        self._to_retry.discard(path)
            except (StorageUnavailableError, UsageError):  # the call may have succeeded nevertheless
                continue

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _instances(self) -> dict[str, tuple[Status, int]]:
        """Return every workflow of the round, and how far it has come."""
        found = {one.instance_id: one async for one in self._app.iter_instances({}, workflow_name="chaos_")}
        return {id: (one.status, int(one.updated_at.timestamp() * 1_000_000)) for id, one in found.items()}

    async def _until_over(self, crew: Crew) -> None:
        """Wait until everything has ended, as long as anything makes progress."""
        must = {path for path, each in self.expected.items() if not each.program.undetermined} | set(self._starters)
        patience, before = self._plan.patience, dict[str, tuple[Status, int]]()
        steps, counted = list[int](), stage.moment()
        moved = counted
        while stage.moment() - moved < patience:
            await crew.look()
            there = await self._insist(self._instances)
            if not self._to_retry and must <= there.keys() and all(status in _OVER for status, _ in there.values()):
                return
            if there != before:
                before, moved = there, stage.moment()
            if stage.moment() - counted > patience * _LOOKS:  # a row does not show each step, and its log is long
                counted, former = stage.moment(), steps
                steps = [await self._steps(id) for id, (status, _) in there.items() if status not in _OVER]
                moved = moved if steps == former else stage.moment()
            await asyncio.sleep(0.3)

    async def _until_relayed(self, crew: Crew) -> None:
        """Wait until the relays have sent everything, as long as anything is sent."""
        before, moved = -1, stage.moment()
        while stage.moment() - moved < self._plan.patience:
            await crew.look()
            counts = await self._insist(lambda: self._store.services.outbox.counts(most=1_000_000))
            pending = counts.states.get(OutboxState.PENDING, 0)
            if not pending:
                return
            if pending != before:
                before, moved = pending, stage.moment()
            await asyncio.sleep(0.1)

    def _acted_outside(self) -> set[str]:
        """Return the keys of the activities that have acted outside of the database."""
        file = self._folder / OUTSIDE
        return set(file.read_text("utf-8").split()) if file.exists() else set()

    async def _violations(self) -> list[Finding]:
        """Return what contradicts itself in the tables; those of the shapes' workflows are replayed."""
        workflows = {each.name: each for sealed in (False, True) for each in workflows_of(sealed=sealed)}
        codecs = Codecs.of([Sealing()])
        complaints = await self._insist(lambda: sweep(self._store, with_built_in(workflows), codecs=codecs))
        found = [each for each in complaints if self._plan.seed in each.instance_id]  # not the ledger's own
        return [Finding("invariant", each.instance_id, each.what) for each in found]

    async def _keep_log(self, instance_id: str) -> None:
        """Keep the log of an instance with a finding, for people to read."""
        found = await read_log(self._store, instance_id)
        if found is not None:
            lines = [f"{row.seq} {row.writer} {row.at} {bytes(row.body).decode(errors='replace')}" for row in found[1]]
            (self._folder / f"{instance_id}.log").write_text("\n".join([str(found[0]), *lines, ""]), encoding="utf-8")

    async def _steps(self, instance_id: str) -> int:
        """Return the number of rows in its log, which the instance's row does not show."""
        page = await self._insist(lambda: self._store.read(instance_id))
        return page.rows[-1].seq if page is not None and page.rows else 0


def _paths(paths: Iterable[str]) -> dict[str, FilterValue]:
    """Return the search for the programs with these paths."""
    return {"program.path": one_of(*sorted(paths))}

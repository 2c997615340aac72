"""A stage for named cases: simulated workers and a database, hurt at chosen moments, and what must hold afterwards.

A case is a coroutine that runs in a process of its own, whose wire is always calm. Activities say what they do with
`did`.
"""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from msgspec import Struct

from romancy import Romancy, activity_context
from romancy.core import ActivityCompleted, decode_commit
from romancy.status import TERMINAL_STATUSES, Status
from romancy.testing.simulating.cluster import Cluster
from romancy.testing.simulating.wire import Weather
from romancy.testing.simulating.worker import Worker
from romancy.testing.simulating.world import SECOND
from romancy_conformance.chaos.judge import Finding, read_log
from romancy_conformance.simulation.slices import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy import Workflow
    from romancy.storage.protocol import Store

    Part = Callable[["Scene"], Awaitable[None]]
    Alters = Callable[[Any], None]

__all__ = ["Effect", "Scene", "ScenePlayedWronglyError", "did", "play_case"]

_URL: Final = "memory://simulated"
_LONGEST: Final = 4 * 3600 * SECOND
_PATIENCE: Final = 60.0
_A_MOMENT: Final = 0.0005
_ENDS: Final = frozenset({Status.COMPLETED, Status.CANCELLED})
_playing: list[Scene] = []
"""The scene that is played, for its activities."""


class ScenePlayedWronglyError(Exception):
    """What the case is about did not come about."""


class Effect(Struct, frozen=True):
    """What an activity did."""

    at: float
    process: str
    instance: str
    activity: str
    what: str


def did(what: str) -> None:
    """Note that the running attempt does this now."""
    scene, ctx = _playing[-1], activity_context()
    turning = scene.cluster.processes.turning
    assert turning is not None
    effect = Effect(scene.now, turning.name, ctx.instance_id, ctx.activity_id, what)
    scene.effects.append(effect)
    scene.cluster.world.note(turning.name, "did", f"{what} {ctx.instance_id} {ctx.activity_id}")
    for told in scene.hears:
        told(effect)


class Scene:
    """One case while it is played."""

    def __init__(self, seed: str, *, keep: int = 0) -> None:
        self.cluster = Cluster(seed, keep=keep)
        self.chance = random.Random(f"scene {seed}")
        self.effects: list[Effect] = []
        self.findings: list[Finding] = []
        self.hears: list[Callable[[Effect], None]] = []
        """Are told each effect when it happens."""
        self.instances = 0
        """How many it had."""
        self.app: Romancy
        """Starts workflows, and reads. It has no worker."""
        self.reads: Store
        """The database, for whoever looks at logs."""
        self._workers: dict[int, Worker] = {}
        self._alters: dict[int, Alters] = {}
        """What changes the members of the store of a worker."""
        self._driver = self.cluster.process("driver")

    @property
    def now(self) -> float:
        """The true time, in seconds since the beginning."""
        world = self.cluster.world
        return (world.now - world.began) / SECOND

    # ── what a case does ────────────────────────────────────────────────────────────────────────────────────────

    def worker(
        self,
        name: str,
        workflows: Sequence[Workflow[..., Any]],
        *,
        machine: int,
        alters: Alters | None = None,
        lease: float = 3.0,
        drain: float = 2.0,
        **options: Any,
    ) -> Worker:
        """Start a worker process on this machine. `drain` is how long it lets its activities end."""
        worker = Worker(self.cluster, name, machine=machine)
        self._workers[worker.process.pid] = worker
        if alters is not None:
            self._alters[worker.process.pid] = alters
        worker.begin(_work(worker, workflows, {"lease": lease, "drain_timeout": drain, **options}))
        return worker

    async def until(self, holds: Callable[[], bool], what: str, *, most: float = 30.0) -> None:
        """Wait until this holds. Raises ScenePlayedWronglyError if it does not come about."""
        end = self.now + most
        while not holds():
            if self.now > end:
                raise ScenePlayedWronglyError(f"{what} did not come about")
            await asyncio.sleep(_A_MOMENT)

    def breaks(self) -> None:
        """Break all connections of workers, and let nobody reach the database, until `comes_back`."""
        self.cluster.weather.away = True
        for worker in self._workers.values():
            for wire in self.cluster.wires.get(worker.process.pid, ()):
                if not worker.process.is_dead:
                    wire.cut()

    def comes_back(self) -> None:
        """Let the workers reach the database again."""
        self.cluster.weather.away = False

    def find(self, kind: str, instance: str, text: str) -> None:
        """Note what must not be."""
        self.findings.append(Finding(kind, instance, text))

    # ── playing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def play(self, part: Part, workflows: Sequence[Workflow[..., Any]]) -> None:
        """Play it to its end."""
        _playing.append(self)
        world, driver = self.cluster.world, self._driver
        with patch("romancy.app.create_store", self._store):
            driver.begin(self._play(part, workflows), Context())
            world.run(lambda: driver.is_dead, world.now + _LONGEST)
        if driver.error is not None:
            told = "".join(traceback.format_exception(driver.error))
            self.find("broken", world.seed, told)
        elif not driver.is_dead:
            self.find("endless", world.seed, "it did not end in four hours of its time")
        for name, error in self.cluster.processes.errors:
            self.find("uncaught", name, f"{error.get('message')}: {error.get('exception')!r}")

    def _store(self, _: str, **__: Any) -> Store:
        process = self.cluster.processes.turning
        assert process is not None
        store = self.cluster.store(process, None if process.pid in self._workers else Weather())
        if (alters := self._alters.get(process.pid)) is not None:
            alters(store)
        return store

    async def _play(self, part: Part, workflows: Sequence[Workflow[..., Any]]) -> None:
        store = self.reads = self.cluster.store(self._driver, Weather())
        await store.open()
        async with Romancy(_URL, workflows=workflows, worker=False) as self.app:
            await part(self)
            end = self.now + _PATIENCE
            while [each async for each in self.app.iter_instances() if each.status not in TERMINAL_STATUSES]:
                if self.now > end:
                    break
                await asyncio.sleep(0.1)
            await self._judge(store)

    async def _judge(self, store: Store) -> None:
        """Each instance has ended, and nothing that the log called completed was done again."""
        async for each in self.app.iter_instances():
            self.instances += 1
            if each.status not in _ENDS:
                self.find("stranded", each.instance_id, f"it is {each.status} {_PATIENCE:g} s after the faults")
            found = await read_log(store, each.instance_id)
            assert found is not None
            written = {
                event.id: row.at
                for row in found[1]
                for event in decode_commit(row.body)
                if isinstance(event, ActivityCompleted)
            }
            began = self.cluster.world.began
            for effect in self.effects:
                at = written.get(effect.activity)
                if effect.instance == each.instance_id and at is not None and effect.at > (at - began) / SECOND:
                    text = f"{effect.what} ({effect.activity}) in {effect.process}, after its end was in the log"
                    self.find("doubled", each.instance_id, text)


async def _work(worker: Worker, workflows: Sequence[Workflow[..., Any]], options: dict[str, Any]) -> None:
    """Be the main function of a worker."""
    app = Romancy(_URL, workflows=workflows, warn_when_blocked=None, **options)
    async with app:
        await worker.told.wait()
        await app.drain()


def play_case(seed: str, part: Part, workflows: Sequence[Workflow[..., Any]], *, keep: int = 0) -> Outcome:
    """Play a case, and return its outcome in the form of a slice."""
    begun = time.monotonic()
    scene = Scene(seed, keep=keep)
    scene.play(part, workflows)
    world = scene.cluster.world
    counts = world.trace.counts
    return Outcome(
        seed=seed,
        digest=world.trace.digest(),
        findings=[str(finding) for finding in scene.findings],
        instances=scene.instances,
        deaths=counts.get("died", 0),
        wire=sum(counts.get(what, 0) for what in ("lost", "unanswered", "hung", "late", "cut", "away", "posthumous")),
        counts=counts,
        virtual=(world.now - world.began) / SECOND,
        seconds=time.monotonic() - begun,
        turns=world.turns,
        story=world.trace.lines,
    )

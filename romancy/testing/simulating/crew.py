"""The workers of a simulation, each at its place, and the faults that hit them and their database."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from romancy.errors import StorageUnavailableError
from romancy.testing.simulating.database import Database
from romancy.testing.simulating.faults import ON_WORKERS, Fault, Faults
from romancy.testing.simulating.wire import WEATHER
from romancy.testing.simulating.worker import MACHINES, WRONG, Worker
from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.testing.simulating.cluster import Cluster
    from romancy.testing.simulating.process import Process

    Work = Callable[[Process, asyncio.Event], Coroutine[Any, Any, None]]
    """The main function of a worker, which ends when the event is set."""

__all__ = ["Crew"]

_PATIENCE: Final = 30.0
"""Seconds after which whoever has told a worker to stop kills it."""


class Crew:
    """As many workers as there are places. A new worker follows one that has ended, as with any supervisor."""

    def __init__(self, cluster: Cluster, faults: Faults, workers: int, work: Work) -> None:
        self._cluster = cluster
        self._database = Database(cluster)
        self._faults = faults
        self._work = work
        self._chance = random.Random(f"crew {cluster.world.seed}")  # noqa: S311 - a simulation
        self._places: list[Worker | None] = [None] * workers
        """The worker at each place. None: none has been there yet."""
        self._tasks: dict[asyncio.Task[None], None] = {}
        """In the order in which they began."""
        self._made = 0
        self._armed: list[Fault] = []
        """Faults that wait for an activity to return."""
        self.refused: list[str] = []
        """What the code of workers has asked for and a simulation does not have."""
        self.deaths = 0
        self.struck: list[int] = []
        """The numbers of the faults that have happened."""
        self.broken: list[str] = []
        """Workers that have ended with an error."""

    def begin(self) -> None:
        """Fill each place."""
        for place in range(len(self._places)):
            task = self._keep(self._tend(place))
            task.set_name(f"place {place}")

    async def strike(self, faults: list[tuple[int, Fault]]) -> None:
        """Let these faults happen, each at its time. Returns when the last one is over."""
        began, world, striking = self._cluster.world.now, self._cluster.world, list[asyncio.Task[None]]()
        for number, fault in faults:
            await asyncio.sleep(max(0.0, fault.at - (world.now - began) / SECOND))
            self.struck.append(number)
            striking.append(self._keep(self._do(fault)))
        await asyncio.gather(*striking)

    async def heal(self) -> None:
        """End all faults that still last."""
        for task in self._tasks:
            if not task.get_name().startswith("place "):
                task.cancel()
        self._armed.clear()
        self._cluster.weather.calm()
        self._cluster.server.thaw()
        for worker in self._places:
            if worker is not None:
                worker.thaw()

    async def returns(self, process: Process) -> None:
        """An activity of this process has had its effect, and nobody knows yet."""
        if self._armed:
            fault, world = self._armed.pop(0), self._cluster.world
            if fault.kind == "deaths":
                self.deaths += 1
                world.at(world.now, process.kill)
            else:
                world.at(world.now, process.freeze)
                world.at(world.now + round(fault.seconds * SECOND), process.thaw)
            await asyncio.sleep(0)  # it comes back when the process has another turn

    def _keep(self, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(main)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    async def _tend(self, place: int) -> None:
        """Keep a worker at this place."""
        while True:
            self._made += 1
            worker = Worker(self._cluster, f"worker{self._made}", machine=place % MACHINES, wrong=WRONG)
            worker.process.loop.is_watched = True
            worker.process.loop.refused = self.refused
            self._places[place] = worker
            worker.begin(self._work(worker.process, worker.told))
            await worker.is_over.wait()
            error = worker.process.error
            if error is not None and not isinstance(error, StorageUnavailableError):
                self.broken.append(f"{worker.process.name} has ended with {type(error).__name__}: {error}")
            await asyncio.sleep(self._chance.uniform(0.01, 1.0))

    async def _do(self, fault: Fault) -> None:
        worker = self._places[fault.place % len(self._places)]
        if fault.aimed:
            self._armed.append(fault)
        elif fault.kind not in ON_WORKERS:
            await self._hurt_the_database(fault)
        elif worker is not None and not worker.process.is_dead:  # else its successor has not begun yet
            await self._hurt(worker, fault)

    async def _hurt_the_database(self, fault: Fault) -> None:
        database = self._database
        match fault.kind:
            case "cuts":
                database.cut(1.0)
            case "stalls":
                await database.stall(fault.seconds)
            case "away":
                database.note("wire", "away", fault.seconds)
                await database.weather(fault.seconds, away=True)
            case _:
                shares = {name: getattr(self._faults, name) * fault.strength for name in WEATHER}
                await database.weather(fault.seconds, **shares)

    async def _hurt(self, worker: Worker, fault: Fault) -> None:
        match fault.kind:
            case "deaths":
                self.deaths += 1
                worker.kill()
            case "freezes":
                worker.freeze()
                await asyncio.sleep(fault.seconds)
                worker.thaw()
            case "drains":
                worker.drain()
                await asyncio.sleep(_PATIENCE)
                worker.kill()
            case _:
                worker.set_clock()

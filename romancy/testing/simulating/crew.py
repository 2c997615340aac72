"""The workers of a simulation, each at its place, and the faults that hit them and their database."""

from __future__ import annotations

import asyncio
import random
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy.errors import StorageUnavailableError
from romancy.testing.simulating.faults import ON_WORKERS, Fault, Faults
from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.testing.simulating.cluster import Cluster
    from romancy.testing.simulating.process import Process

    Work = Callable[[Process, asyncio.Event], Coroutine[Any, Any, None]]
    """The main function of a worker, which ends when the event is set."""

__all__ = ["Crew"]

_HOUR: Final = 3600 * SECOND
_MACHINES: Final = 2
_PATIENCE: Final = 30.0
"""Seconds after which whoever has told a worker to stop kills it."""


class _Place:
    """A place, the worker that is there, and what tells it to stop."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Process | None = None
        self.told = asyncio.Event()


class Crew:
    """As many workers as there are places. A new worker follows one that has ended, as with any supervisor."""

    def __init__(self, cluster: Cluster, faults: Faults, workers: int, work: Work) -> None:
        self._cluster = cluster
        self._faults = faults
        self._work = work
        self._chance = random.Random(f"crew {cluster.world.seed}")  # noqa: S311 - a simulation
        self._places = [_Place(number) for number in range(workers)]
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
        for place in self._places:
            task = self._keep(self._tend(place))
            task.set_name(f"place {place.number}")

    async def strike(self, faults: list[tuple[int, Fault]]) -> None:
        """Let these faults happen, each at its time. Returns when the last one is over."""
        began, world, striking = self._cluster.world.now, self._cluster.world, list[asyncio.Task[None]]()
        for number, fault in faults:
            await asyncio.sleep(max(0.0, fault.at - (world.now - began) / SECOND))
            self.struck.append(number)
            world.note("fault", fault.kind, fault.told(len(self._places)))
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
        for place in self._places:
            if place.process is not None:
                place.process.thaw()

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

    async def _tend(self, place: _Place) -> None:
        """Keep a worker at this place."""
        loop = asyncio.get_running_loop()
        while True:
            self._made += 1
            gone, place.told = asyncio.Event(), asyncio.Event()
            process = self._cluster.process(f"worker{self._made}", machine=place.number % _MACHINES, wrong=_HOUR)
            process.loop.is_watched = True
            process.loop.refused = self.refused
            process.ended.append(partial(_tell, loop, gone))
            place.process = process
            process.begin(self._work(process, place.told), Context())
            await gone.wait()
            error = process.error
            if error is not None and not isinstance(error, StorageUnavailableError):
                self.broken.append(f"{process.name} has ended with {type(error).__name__}: {error}")
            await asyncio.sleep(self._chance.uniform(0.01, 1.0))

    async def _do(self, fault: Fault) -> None:
        place = self._places[fault.place % len(self._places)]
        process = place.process
        if fault.aimed:
            self._armed.append(fault)
        elif fault.kind not in ON_WORKERS:
            await self._hurt_the_database(fault)
        elif process is not None and not process.is_dead:  # else its successor has not begun yet
            await self._hurt(process, place, fault)

    async def _hurt_the_database(self, fault: Fault) -> None:
        server, weather = self._cluster.server, self._cluster.weather
        match fault.kind:
            case "cuts":
                for wires in self._cluster.wires.values():
                    for wire in wires:
                        if wire.weather is weather and not wire.process.is_dead:
                            wire.cut()
            case "stalls":
                server.freeze()
                await asyncio.sleep(fault.seconds)
                server.thaw()
            case "away":
                weather.away = True
                await asyncio.sleep(fault.seconds)
                weather.away = False
            case _:
                for share in ("lost", "unanswered", "hung", "late"):
                    setattr(weather, share, getattr(self._faults, share) * fault.strength)
                await asyncio.sleep(fault.seconds)
                weather.lost = weather.unanswered = weather.hung = weather.late = 0.0

    async def _hurt(self, process: Process, place: _Place, fault: Fault) -> None:
        match fault.kind:
            case "deaths":
                self.deaths += 1
                process.kill()
            case "freezes":
                process.freeze()
                await asyncio.sleep(fault.seconds)
                process.thaw()
            case "drains":
                told = place.told
                process.loop.call_soon_threadsafe(told.set)
                await asyncio.sleep(_PATIENCE)
                if not process.is_dead:
                    process.kill()
            case _:
                process.clock.ahead = self._chance.randint(-_HOUR, _HOUR)


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)

"""A database in memory, and the simulated processes that use it."""

from __future__ import annotations

import gc
import logging
import random
from typing import TYPE_CHECKING, Final

from romancy.storage.backends import create_store
from romancy.storage.passing import changed_by
from romancy.testing.simulating.process import Process, Processes
from romancy.testing.simulating.wire import Weather, Wire, WiredStore
from romancy.testing.simulating.world import SECOND, World

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["Cluster", "StoreClock", "be_silent"]

_START: Final = 1_800_000_000 * SECOND


class StoreClock:
    """The time of day at the database's machine, in microseconds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._behind = 0
        self._stands_at: int | None = None
        self._most_behind = 0

    def now(self) -> int:
        """What it tells."""
        return (self._world.now if self._stands_at is None else self._stands_at) - self._behind

    @property
    def most_behind(self) -> int:
        """By how many microseconds it has been behind the true time until now, at most."""
        self._most_behind = max(self._most_behind, self._world.now - self.now())
        return self._most_behind

    def stand(self) -> None:
        """Tell the time of now until `go_on`."""
        self._stands_at = self._world.now

    def go_on(self) -> None:
        """Tell the right time, if it has not been set back."""
        self._most_behind = self.most_behind
        self._stands_at = None

    def set_back(self, by: int) -> None:
        """Be wrong by so many microseconds more."""
        self._behind += by


def be_silent() -> None:
    """Collect nothing that belongs to dead processes, and log nothing, in this process, which ends after that."""
    gc.disable()
    logger = logging.getLogger("romancy")
    logger.handlers[:], logger.propagate = [logging.NullHandler()], False
    logger.setLevel(logging.ERROR)


class Cluster:
    """One simulation. The seed decides everything."""

    def __init__(self, seed: str, *, keep: int = 0) -> None:
        """`keep`: how many lines of the trace are kept for people; -1: all."""
        self.world = World(seed, start=_START, keep=keep)
        self.processes = Processes()
        self.weather = Weather()
        self._url = f"memory://simulated-{seed}"
        self.server = Process(self.world, self.processes, "database", machine=-1)
        self.server.is_eager = True
        self.clock = StoreClock(self.world)
        self._kept = create_store(self._url, clock=self.clock.now)
        self.wires: dict[int, list[Wire]] = {}

    def process(self, name: str, *, machine: int = 0, wrong: int = 0) -> Process:
        """Make a process. It does nothing until it `begin`s. Its time of day may be `wrong` by these microseconds."""
        return Process(self.world, self.processes, name, machine=machine, wrong=wrong)

    def store(self, process: Process, weather: Weather | None = None) -> Store:
        """The database, as this process reaches it: in this weather, or in that of all."""
        number = len(self.wires.get(process.pid, ()))
        chance = random.Random(f"{self.world.seed} wire {process.pid} {number}")  # noqa: S311 - a simulation
        wire = Wire(process, self.server, weather or self.weather, chance)
        self.wires.setdefault(process.pid, []).append(wire)
        return changed_by(create_store(self._url, pace=wire.pace), WiredStore, wire)

    def has_under_way(self, process: Process, call: str) -> bool:
        """Whether this process waits for the answer to such a call."""
        return any(call in wire.under_way for wire in self.wires.get(process.pid, ()))

    def kill_all(self) -> None:
        """End the simulation: nothing of it runs any more."""
        self.processes.kill_all()

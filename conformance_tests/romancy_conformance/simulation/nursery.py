"""The workers and the database of a simulated round, for the parts of `chaos` that hurt them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextvars import Context
from typing import TYPE_CHECKING, Final

from romancy import StorageUnavailableError
from romancy.testing.simulating.world import SECOND
from romancy_conformance.chaos.ailing import CLOCK
from romancy_conformance.chaos.faults import ON_CLOCKS, ON_DATABASES, ON_THE_WIRE
from romancy_conformance.chaos.worker import work
from romancy_conformance.chaos.workers import stopped

if TYPE_CHECKING:
    from typing import Any

    from romancy.testing.simulating.cluster import Cluster
    from romancy.testing.simulating.process import Process
    from romancy.testing.simulating.wire import Wire
    from romancy_conformance.chaos.faults import Fault
    from romancy_conformance.chaos.worker import Job

__all__ = ["SimulatedDatabase", "SimulatedNursery"]

_WRONG: Final = 3600 * SECOND
"""By how much the time of day of a machine may be wrong."""
_MACHINES: Final = 2


class SimulatedNursery:
    """Makes simulated worker processes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._made = 0

    async def make(self, job: Job) -> SimulatedWorker:
        """Make one more worker."""
        self._made += 1
        name, machine = f"worker{self._made}", self._made % _MACHINES
        process = self._cluster.process(name, machine=machine, wrong=_WRONG)
        told = asyncio.Event()
        process.begin(_worked(job, told), Context())
        return SimulatedWorker(process, told)


async def _worked(job: Job, told: asyncio.Event) -> Any:
    try:
        await work(job, told)
    except StorageUnavailableError:
        return os.EX_TEMPFAIL
    return 0


class SimulatedWorker:
    """One simulated process, which takes signals."""

    def __init__(self, process: Process, told: asyncio.Event) -> None:
        self.pid = process.pid
        self._process = process
        self._told = told

    async def status(self) -> int | None:
        """Return how it ended, or None while it runs."""
        process = self._process
        return process.result if process.status == 0 else process.status

    async def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        process = self._process
        if process.is_dead:
            return
        if number == signal.SIGSTOP:
            process.freeze()
        elif number == signal.SIGCONT:
            process.thaw()
        elif number == signal.SIGTERM:
            process.world.note(process.name, "told to stop")
            process.loop.call_soon_threadsafe(self._told.set)
        elif number == CLOCK:
            process.clock.ahead = process.chance.randint(-_WRONG, _WRONG)
            process.world.note(process.name, "clock set", f"{process.clock.ahead / SECOND:+.3f} s")

    async def stop(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; return how it ended."""
        return await stopped(self, number)

    async def kill(self) -> None:
        """End it at once, even when frozen."""
        if not self._process.is_dead:
            self._process.kill()


class SimulatedDatabase:
    """The database and the wires of the workers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._chance = random.Random(f"{cluster.world.seed} database")

    @property
    def faults(self) -> frozenset[str]:
        """The faults that it supports."""
        return frozenset(ON_CLOCKS | ON_DATABASES | ON_THE_WIRE)

    async def stall(self, seconds: float) -> None:
        """Let it answer nothing for a while."""
        self._cluster.server.freeze()
        await asyncio.sleep(seconds)
        self._cluster.server.thaw()

    async def hurt(self, fault: Fault) -> None:
        """Bring on a fault of the wires for a while, or one of the database's clock."""
        weather, clock = self._cluster.weather, self._cluster.clock
        self._cluster.world.note(
            "database" if fault.kind in ON_CLOCKS else "wire", fault.kind, f"{fault.seconds:.3f} s"
        )
        match fault.kind:
            case "store-stands":
                clock.stand()
                await asyncio.sleep(fault.seconds * 3)
                clock.go_on()
            case "store-back":
                clock.set_back(int(fault.seconds * 10 * SECOND))
            case "wire-slow":
                await self._while(fault.seconds * 3, slow=fault.seconds * 1000)
            case "wire-hole" if self._chance.random() < 0.5:
                await self._cut_one_off(fault.seconds * 5)
            case "wire-hole":
                await self._while(fault.seconds, away=True)
            case "wire-cut-all":
                self._cut(1.0)
            case _:
                bad = dict.fromkeys(("lost", "unanswered", "hung", "late"), self._chance.choice((0.05, 0.1, 0.3)))
                before = {name: getattr(weather, name) for name in bad}
                for _ in range(5):
                    self._cut(0.3)
                    await self._while(fault.seconds / 5, **bad)
                for name, value in before.items():
                    setattr(weather, name, value)

    async def _while(self, seconds: float, **changed: Any) -> None:
        weather = self._cluster.weather
        before = {name: getattr(weather, name) for name in changed}
        for name, value in changed.items():
            setattr(weather, name, value)
        await asyncio.sleep(seconds)
        for name, value in before.items():
            setattr(weather, name, value)

    async def _cut_one_off(self, seconds: float) -> None:
        """Keep one worker from the database while all others reach it."""
        living = [wires for wires in self._cluster.wires.values() if self._is_a_worker(wires[0])]
        if not living:
            return
        wires = self._chance.choice(living)
        for wire in wires:
            wire.cut_off()
        await asyncio.sleep(seconds)
        for wire in wires:
            wire.is_cut_off = False

    def _is_a_worker(self, wire: Wire) -> bool:
        return not wire.process.is_dead and wire.weather is self._cluster.weather

    def _cut(self, share: float) -> None:
        for wires in self._cluster.wires.values():
            for wire in wires:
                if self._is_a_worker(wire) and self._chance.random() < share:
                    wire.cut()

"""The workers and the database of a simulated round, for the parts of `chaos` that hurt them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from romancy import StorageUnavailableError
from romancy.testing.simulating.database import Database
from romancy.testing.simulating.worker import MACHINES, WRONG, Worker
from romancy.testing.simulating.world import SECOND
from romancy_conformance.chaos.ailing import CLOCK
from romancy_conformance.chaos.faults import ON_CLOCKS, ON_DATABASES, ON_THE_WIRE
from romancy_conformance.chaos.worker import work
from romancy_conformance.chaos.workers import stopped

if TYPE_CHECKING:
    from romancy.testing.simulating.cluster import Cluster
    from romancy_conformance.chaos.faults import Fault
    from romancy_conformance.chaos.worker import Job

__all__ = ["SimulatedDatabase", "SimulatedNursery"]


class SimulatedNursery:
    """Makes simulated worker processes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._made = 0

    async def make(self, job: Job) -> SimulatedWorker:
        """Make one more worker."""
        self._made += 1
        worker = Worker(self._cluster, f"worker{self._made}", machine=self._made % MACHINES, wrong=WRONG)
        worker.begin(_worked(job, worker.told))
        return SimulatedWorker(worker)


async def _worked(job: Job, told: asyncio.Event) -> int:
    try:
        await work(job, told)
    except StorageUnavailableError:
        return os.EX_TEMPFAIL
    return 0


class SimulatedWorker:
    """A simulated worker that takes signals, as a real one does."""

    def __init__(self, worker: Worker) -> None:
        self.pid = worker.process.pid
        self._worker = worker

    async def status(self) -> int | None:
        """Return how it ended, or None while it runs."""
        process = self._worker.process
        return process.result if process.status == 0 else process.status

    async def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        worker = self._worker
        if worker.process.is_dead:
            return
        if number == signal.SIGSTOP:
            worker.freeze()
        elif number == signal.SIGCONT:
            worker.thaw()
        elif number == signal.SIGTERM:
            worker.drain()
        elif number == CLOCK:
            worker.set_clock()

    async def stop(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; return how it ended."""
        return await stopped(self, number)

    async def kill(self) -> None:
        """End it at once, even when frozen."""
        self._worker.kill()


class SimulatedDatabase:
    """The database and the wires of the workers, with the faults of chaos."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._database = Database(cluster)

    @property
    def faults(self) -> frozenset[str]:
        """The faults that it supports."""
        return frozenset(ON_CLOCKS | ON_DATABASES | ON_THE_WIRE)

    async def stall(self, seconds: float) -> None:
        """Let it answer nothing for a while."""
        await self._database.stall(seconds)

    async def hurt(self, fault: Fault) -> None:
        """Bring on a fault of the wires for a while, or one of the database's clock."""
        database, clock = self._database, self._cluster.clock
        database.note("database" if fault.kind in ON_CLOCKS else "wire", fault.kind, fault.seconds)
        match fault.kind:
            case "store-stands":
                clock.stand()
                await asyncio.sleep(fault.seconds * 3)
                clock.go_on()
            case "store-back":
                clock.set_back(int(fault.seconds * 10 * SECOND))
            case "wire-slow":
                await database.weather(fault.seconds * 3, slow=fault.seconds * 1000)
            case "wire-hole" if database.chance.random() < 0.5:
                await database.cut_one_off(fault.seconds * 5)
            case "wire-hole":
                await database.weather(fault.seconds, away=True)
            case "wire-cut-all":
                database.cut(1.0)
            case _:
                bad = dict.fromkeys(("lost", "unanswered", "hung", "late"), database.chance.choice((0.05, 0.1, 0.3)))
                for _ in range(5):
                    database.cut(0.3)
                    await database.weather(fault.seconds / 5, **bad)

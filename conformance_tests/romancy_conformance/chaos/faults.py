"""The faults of a round, drawn from its seed and applied to its workers and its server."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from romancy_conformance.chaos.ailing import CLOCK, FULL
from romancy_conformance.chaos.crowding import crowded
from romancy_conformance.chaos.shapes.acts import Stood
from romancy_conformance.chaos.stage import stage
from romancy_conformance.proxy import Direction, Proxy
from romancy_conformance.proxy import Fault as ProxyFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.chaos.worker import Job
    from romancy_conformance.chaos.workers import Makes, Works
    from romancy_conformance.servers import Server

__all__ = ["FAULTS", "ON_CLOCKS", "ON_DATABASES", "ON_THE_WIRE", "Crew", "Database", "Fault", "File", "Served", "plan"]

_ON_WORKERS = {"kill": 8, "freeze": 2, "freeze-long": 1, "drain": 2, "clock": 2}
_ON_FILES = {"full": 1}
ON_DATABASES = {"stall": 1, "drain-stall": 2}
_ON_SERVERS = {"server-kill": 1}
_ON_CONNECTIONS = {"crowded": 1}
ON_THE_WIRE = {"wire-cut": 2, "wire-cut-all": 1, "wire-hole": 1, "wire-slow": 1}
ON_CLOCKS = {"store-stands": 1, "store-back": 1}
"""The clock of the database stands and then is right again, or is set back for good. Only in simulated time."""
_WEIGHTS = _ON_WORKERS | _ON_FILES | ON_DATABASES | _ON_SERVERS | _ON_CONNECTIONS | ON_THE_WIRE | ON_CLOCKS
FAULTS = frozenset(_WEIGHTS)
_AILING = {"clock": CLOCK, "full": FULL}
"""The signal that brings on a fault inside of a worker."""
_SLOWEST_END = 120.0
_LIMITED = frozenset({"postgres", "mysql", "mariadb"})
"""The servers whose limit of connections can be reached from here."""


class Fault(Struct, frozen=True):
    """One fault: the pause after the one before, the place of the worker it hits, and its duration."""

    pause: float
    kind: str
    place: int
    seconds: float


def plan(
    chance: random.Random,
    seconds: float,
    workers: int,
    *,
    lease: float,
    databases: frozenset[str],
    without: frozenset[str],
    kills: int | None = None,
    pauses: tuple[float, float] = (0.2, 1.2),
    deadly: int = 1,
) -> list[Fault]:
    """Draw the faults of a round, among those that its database supports, with at most `kills` killed workers.

    `deadly`: by how much more often than usual a worker is killed.
    """
    weights = _WEIGHTS | {"kill": _WEIGHTS["kill"] * deadly}
    kinds = [kind for kind in _WEIGHTS if kind not in without and (kind in _ON_WORKERS or kind in databases)]
    found: list[Fault] = []
    left = seconds
    while kinds:
        pause = chance.uniform(*pauses)
        left -= pause
        if left < 0:
            break
        (kind,) = chance.choices(kinds, [weights[kind] for kind in kinds])
        if kind == "kill" and kills is not None:
            if not kills:
                continue
            kills -= 1
        longest = lease * 1.5 + 1 if kind == "freeze-long" else 1.0
        found.append(Fault(pause, kind, chance.randrange(workers), chance.uniform(longest / 3, longest)))
    return found


class Database(Protocol):
    """What a round can do to its database."""

    @property
    def faults(self) -> frozenset[str]:
        """The faults that it supports."""
        ...

    async def stall(self, seconds: float) -> None:
        """Let it write, or answer, nothing for a while."""
        ...

    async def hurt(self, fault: Fault) -> None:
        """Bring on another fault, for a while."""
        ...


class Served:
    """A server of this run, and the proxy before it."""

    def __init__(self, server: Server, wire: Proxy) -> None:
        self.server = server
        self.wire = wire

    @property
    def faults(self) -> frozenset[str]:
        """The faults that it supports. The TiDB that was built here keeps its locks in memory: nobody kills it."""
        kills = {} if self.server.kind == "tidb" else _ON_SERVERS
        crowds = _ON_CONNECTIONS if self.server.kind in _LIMITED else {}
        return frozenset(ON_DATABASES | kills | crowds | ON_THE_WIRE)

    async def stall(self, seconds: float) -> None:
        """Let it answer nothing for a while."""
        await asyncio.to_thread(self.server.freeze)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.server.thaw)

    async def hurt(self, fault: Fault) -> None:
        """Bring on a fault of the server or of the wire, for a while."""
        server, wire = self.server, self.wire
        match fault.kind:
            case "server-kill":
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(server.start)
            case "crowded":
                async with crowded(server.url("postgres" if server.kind == "postgres" else "mysql")):
                    await asyncio.to_thread(wire.cut)  # so that all have to connect again
                    await asyncio.sleep(fault.seconds)
            case "wire-slow":
                wire.delay = fault.seconds / 3
                await asyncio.sleep(fault.seconds * 3)
                wire.delay = 0.0
            case "wire-hole":
                await asyncio.to_thread(wire.black_hole)
                await asyncio.sleep(fault.seconds)
                await asyncio.to_thread(wire.heal)
            case "wire-cut-all":
                await asyncio.to_thread(wire.cut)
            case _:
                await self._cut(wire, fault)

    async def _cut(self, wire: Proxy, fault: Fault) -> None:
        """Cut some connections for a while, each at some chunk, before it arrives or before it is answered.

        The proxy also delays the traffic, so that answers arrive when they no longer hold.
        """
        chance = random.Random(fault.seconds)
        wire.delay = chance.choice((0.0, 0.02, 0.1, 0.3))
        for _ in range(5):
            how = chance.choice((ProxyFault.CUT, ProxyFault.CUT_ANSWER))
            left = chance.randint(1, 40)

            def counts_down(direction: Direction, data: bytes) -> bool:
                nonlocal left
                left -= direction is Direction.TO_SERVER
                return left <= 0

            await asyncio.to_thread(wire.when, counts_down, how)
            await asyncio.sleep(fault.seconds / 5)
        wire.delay = 0.0


class File(Struct, frozen=True):
    """A database in a file of this run."""

    path: Path

    @property
    def faults(self) -> frozenset[str]:
        """The faults that it supports."""
        return frozenset(ON_DATABASES | _ON_FILES)

    async def stall(self, seconds: float) -> None:
        """Hold the write lock, so that no other process writes."""
        await asyncio.to_thread(self._hold, seconds)

    async def hurt(self, fault: Fault) -> None:
        """A file has no other faults."""
        raise NotImplementedError(fault.kind)

    def _hold(self, seconds: float) -> None:
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as holder:
            holder.execute("begin immediate")
            time.sleep(seconds)
            holder.execute("rollback")


class Crew:
    """The workers of a round, each in its place; a new worker replaces one that ended."""

    def __init__(self, nursery: Makes, jobs: Callable[[], Job], places: int, database: Database | None) -> None:
        self.counts: Counter[str] = Counter()
        self.ended: list[str] = []
        """Workers that ended by themselves although no fault had hit the server."""
        self.struck: list[Stood] = []
        """When which worker, or the database, was hit."""
        self.died: set[int] = set()
        """The workers that were killed or told to stop, or ended by themselves."""
        self._nursery = nursery
        self._jobs = jobs
        self._database = database
        self._places: list[Works | None] = [None] * places
        self._busy = [asyncio.Lock() for _ in range(places)]
        self._hurting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Fill every place."""
        for place in range(len(self._places)):
            self._places[place] = await self._nursery.make(self._jobs())

    async def strike(self, faults: list[Fault]) -> None:
        """Apply the planned faults; long ones overlap with those that follow."""
        for fault in faults:
            await asyncio.sleep(fault.pause)
            task = asyncio.create_task(self._do(fault))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def roll_over(self) -> None:
        """Replace all workers, one after another, as a rolling deploy does."""
        for place in range(len(self._places)):
            await self._do(Fault(0.0, "drain", place, 0.0))

    async def settle(self) -> None:
        """Wait until every fault is over."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def look(self) -> None:
        """Replace workers that ended by themselves."""
        for place, lock in enumerate(self._busy):
            worker = self._places[place]
            if lock.locked() or worker is None:
                continue
            async with lock:
                if (status := await worker.status()) is not None:
                    if status != os.EX_TEMPFAIL and not self._was_hurt:
                        self.ended.append(f"a worker ended by itself with {status}")
                    self.died.add(worker.pid)
                    self.struck.append(Stood(worker.pid, 0.0, stage.moment()))
                    self._places[place] = await self._nursery.make(self._jobs())

    async def end(self) -> None:
        """Kill all remaining workers."""
        for worker in self._places:
            if worker is not None:
                await worker.kill()

    async def _do(self, fault: Fault) -> None:
        if fault.kind in _ON_WORKERS | _ON_FILES:
            await self._hurt_a_worker(fault)
            return
        begin = stage.moment()
        if fault.kind == "drain-stall":
            await self._drain_in_a_stall(fault)
        else:
            await self._hurt_the_database(fault)
        self.struck.append(Stood(0, begin, stage.moment()))

    async def _drain_in_a_stall(self, fault: Fault) -> None:
        assert self._database is not None
        self.counts[fault.kind] += 1
        stalled = asyncio.create_task(self._database.stall(fault.seconds + 1))
        await asyncio.sleep(0.2)
        await self._do(Fault(0.0, "drain", fault.place, 0.0))
        await stalled

    async def _hurt_a_worker(self, fault: Fault) -> None:
        async with self._busy[fault.place]:
            worker, begin = self._places[fault.place], stage.moment()
            if worker is None or await worker.status() is not None:
                return
            self.counts[fault.kind] += 1
            if fault.kind in {"kill", "drain"}:
                self.died.add(worker.pid)
            await self._hurt(worker, fault)
            self.struck.append(Stood(worker.pid, begin, stage.moment()))

    async def _hurt(self, worker: Works, fault: Fault) -> None:
        if fault.kind == "kill":
            await worker.kill()
            await asyncio.sleep(fault.seconds)
            self._places[fault.place] = await self._nursery.make(self._jobs())
        elif fault.kind in _AILING:
            await worker.send(_AILING[fault.kind])
            await asyncio.sleep(fault.seconds)
        elif fault.kind == "drain":
            self._places[fault.place] = await self._nursery.make(self._jobs())  # as a rolling deploy does
            await self._drain(worker)
        else:
            await worker.send(signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            await worker.send(signal.SIGCONT)

    async def _drain(self, worker: Works) -> None:
        try:
            async with asyncio.timeout(_SLOWEST_END):
                status = await worker.stop(signal.SIGTERM)
        except TimeoutError:
            self.ended.append(f"a worker told to stop was there {_SLOWEST_END:.0f} s later")
            await worker.kill()
            return
        # The signal kills a worker that has not installed its handler yet.
        if status not in {0, -signal.SIGTERM, os.EX_TEMPFAIL} and not self._was_hurt:
            self.ended.append(f"a worker told to stop ended with {status}")

    @property
    def _was_hurt(self) -> bool:
        return any(self.counts[kind] for kind in _WEIGHTS.keys() - _ON_WORKERS.keys())

    async def _hurt_the_database(self, fault: Fault) -> None:
        """Apply one fault to the database at a time."""
        assert self._database is not None
        async with self._hurting:
            self.counts[fault.kind] += 1
            if fault.kind == "stall":
                await self._database.stall(fault.seconds)
                return
            await self._database.hurt(fault)

"""The task that keeps a worker's lease: what it reports when others have declared the worker dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from romancy.engine.incarnation import Incarnation
from romancy.engine.worker.lease import Leases
from romancy.engine.worker.lease_keeper import LeaseKeeper
from romancy.storage.records import Host, Peer, Pulse, Worker

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

LEASE = 300_000


class Verdict:
    """A store that says whether the worker is dead, and which peers there are."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.left: set[str] = set()
        self.others: list[Peer] = []

    async def leave(self, worker: Worker) -> None:
        self.left.add(worker.token)

    async def heartbeat(self, worker: Worker) -> Pulse:
        return Pulse(now=1, alive=worker.token not in self.dead, peers=self.others)


class Holder:
    """A worker that notes what it is told about its lease."""

    def __init__(self, verdict: Verdict, *, named: bool = False) -> None:
        self.told: list[str] = []
        self.again = asyncio.Event()
        self._store, self._named = cast("Store", verdict), named
        self._incarnation = Incarnation()
        self.keeper = LeaseKeeper(self._store, self._incarnation, cast("Any", self), self)

    def new_leases(self) -> Leases:
        return Leases(self._store, self._incarnation.clock, worker_id="w", lease=LEASE, codes=(), named=self._named)

    def look(self) -> None:
        self.told.append("freed")

    def lease_renewed(self) -> None:
        """What waits for it may begin."""

    def lease_lapsed(self) -> None:
        """The machine may be slow."""

    def declared_dead(self) -> None:
        self.told.append("dead")

    def reborn(self) -> None:
        self.told.append("reborn")
        self.again.set()

    def gave_up(self, reason: Exception) -> None:
        self.told.append(str(reason))


async def test_who_was_declared_dead_drops_everything_and_begins_anew() -> None:
    """D2: it owns nothing any more; a new incarnation may continue to work."""
    verdict = Verdict()
    holder = Holder(verdict)
    heart = holder.keeper
    await heart.begin()
    first = heart.leases.token
    verdict.dead.add(first)
    beating = asyncio.create_task(heart.run())
    async with asyncio.timeout(60):
        await holder.again.wait()
    beating.cancel()
    await asyncio.wait({beating})
    heart.stop()

    assert holder.told == ["dead", "reborn"]
    assert heart.leases.token != first


async def test_who_hears_later_that_another_bears_its_id_gives_up_and_leaves() -> None:
    """A rival on another machine shows only when its heartbeat counter changes: by then the worker is at work."""
    host = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
    elder = Peer(token="elder", worker_id="w", lease=LEASE, beat=1, dead=False, codes=(), host=host, started_at=0)
    verdict = Verdict()
    verdict.others = [elder]
    holder = Holder(verdict, named=True)
    heart = holder.keeper
    await heart.begin()
    verdict.others = [msgspec.structs.replace(elder, beat=2)]
    async with asyncio.timeout(60):
        await heart.run()  # it ends by itself
    heart.stop()

    assert len(holder.told) == 1
    assert "a worker with the id 'w' is already at work" in holder.told[0]
    assert {heart.leases.token} == verdict.left

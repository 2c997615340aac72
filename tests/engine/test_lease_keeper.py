"""The task that keeps a worker's lease: what it reports when others have declared the worker dead."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from romancy.engine.clock import DatabaseClock
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

    async def heartbeat(self, worker: Worker, *, leaving: bool = False) -> Pulse:
        if leaving:
            self.left.add(worker.token)
        return Pulse(now=1, alive=worker.token not in self.dead, peers=self.others)


async def test_who_was_declared_dead_drops_everything_and_begins_anew() -> None:
    """D2: it owns nothing any more; a new incarnation may continue to work."""
    verdict, clock, told = Verdict(), DatabaseClock(), list[str]()
    store, again = cast("Store", verdict), asyncio.Event()
    note = told.append

    def reborn() -> None:
        note("reborn")
        again.set()

    heart = LeaseKeeper(
        store,
        clock,
        incarnate=lambda: Leases(store, clock, worker_id="w", lease=LEASE, codes=()),
        nonce=lambda: "n",
        alive=lambda: None,
        lapsed=partial(note, "lapsed"),
        dead=partial(note, "dead"),
        reborn=reborn,
        freed=partial(note, "freed"),
        failed=lambda error: note(str(error)),
    )
    await heart.begin()
    first = heart.leases.token
    verdict.dead.add(first)
    beating = asyncio.create_task(heart.run())
    async with asyncio.timeout(60):
        await again.wait()
    beating.cancel()
    await asyncio.wait({beating})
    heart.stop()

    assert [one for one in told if one != "lapsed"] == ["dead", "reborn"]
    assert heart.leases.token != first


async def test_who_hears_later_that_another_bears_its_id_gives_up_and_leaves() -> None:
    """A rival on another machine shows only when its heartbeat counter changes: by then the worker is at work."""
    host = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
    elder = Peer(token="elder", worker_id="w", lease=LEASE, beat=1, dead=False, codes=(), host=host, started_at=0)
    verdict, clock, told = Verdict(), DatabaseClock(), list[str]()
    store = cast("Store", verdict)
    verdict.others = [elder]
    heart = LeaseKeeper(
        store,
        clock,
        incarnate=lambda: Leases(store, clock, worker_id="w", lease=LEASE, codes=(), named=True),
        nonce=lambda: "n",
        alive=lambda: None,
        lapsed=lambda: None,
        dead=partial(told.append, "dead"),
        reborn=partial(told.append, "reborn"),
        freed=partial(told.append, "freed"),
        failed=lambda error: told.append(str(error)),
    )
    await heart.begin()
    verdict.others = [msgspec.structs.replace(elder, beat=2)]
    async with asyncio.timeout(60):
        await heart.run()  # it ends by itself
    heart.stop()

    assert len(told) == 1
    assert "a worker with the id 'w' is already at work" in told[0]
    assert {heart.leases.token} == verdict.left

"""The heart of a worker: what it tells when it hears that others have declared it dead."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from romancy.engine._beating import Beating
from romancy.engine._clock import DatabaseClock
from romancy.engine._leases import Leases
from romancy.storage.records import Pulse, Worker

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

LEASE = 300_000


class Verdict:
    """A store that knows who is dead."""

    def __init__(self) -> None:
        self.dead: set[str] = set()

    async def heartbeat(self, worker: Worker, *, leaving: bool = False) -> Pulse:
        return Pulse(now=1, alive=worker.token not in self.dead, peers=[])


async def test_who_was_declared_dead_drops_everything_and_begins_anew() -> None:
    """D2: nothing it holds is its own any more; another incarnation may work on."""
    verdict, clock, told = Verdict(), DatabaseClock(), list[str]()
    store, again = cast("Store", verdict), asyncio.Event()
    note = told.append

    def reborn() -> None:
        note("reborn")
        again.set()

    heart = Beating(
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

"""The thread that watches the event loop: when it starts to send heartbeats, when it gives up, and that it ends."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from romancy.engine.clock import DatabaseClock
from romancy.engine.worker import watchdog
from romancy.engine.worker.lease import Leases
from romancy.engine.worker.watchdog import SecondHeartbeat, Watchdog
from romancy.storage.records import Pulse

if TYPE_CHECKING:
    import pytest

    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.storage.protocol import Store

LEASE = 2.5


class Wall:
    """A store that counts heartbeats."""

    def __init__(self, *, alive: bool = True) -> None:
        self.alive = alive
        self.beats: list[float] = []
        self.threads: set[int] = set()
        self.closed = 0

    async def open(self, *, migrate: bool = True) -> None:
        assert not migrate

    async def close(self) -> None:
        self.closed += 1

    async def heartbeat(self, worker: object) -> Pulse:
        self.beats.append(time.monotonic())
        self.threads.add(threading.get_ident())
        return Pulse(now=1, alive=self.alive, peers=[])


def new_leases(store: Wall, lease: float) -> Leases:
    return Leases(cast("Store", store), DatabaseClock(), worker_id="w", lease=round(lease * 1_000_000), codes=())


class Ear(logging.Handler):
    """Hears that the watchdog logs how long the loop was blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "the event loop was blocked for" in record.getMessage():
            self.heard.set()


async def blocked(store: Wall, seconds: float, *, patience: float = 0.05, lease: float = LEASE) -> bool:
    """Block a loop for so long, with heartbeats from a thread; return whether its lease is fresh after that."""
    ear = Ear()
    logging.getLogger("romancy.engine").addHandler(ear)
    leases = new_leases(store, lease)
    keeper = cast("LeaseKeeper", SimpleNamespace(leases=leases))
    watchdog = Watchdog(patience, SecondHeartbeat(lambda: cast("Store", store), keeper, lease))
    watchdog.start()
    await asyncio.sleep(0.1)
    time.sleep(seconds)  # noqa: ASYNC251 - this is what it watches for
    fresh = leases.fresh()
    assert await asyncio.to_thread(ear.heard.wait, 30 if seconds else 1.5) or not seconds
    logging.getLogger("romancy.engine").removeHandler(ear)
    watchdog.stop()
    while any(thread.name in ("romancy-watchdog", "romancy-second-heart") for thread in threading.enumerate()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return fresh


def test_a_second_heart_keeps_the_lease_fresh_from_another_thread() -> None:
    store = Wall()
    fresh = asyncio.run(blocked(store, 2 * LEASE))

    assert fresh
    assert threading.get_ident() not in store.threads
    assert max(after - before for before, after in zip(store.beats, store.beats[1:], strict=False)) < LEASE
    assert store.closed == 1


def test_it_gives_up_when_the_loop_is_blocked_for_too_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "_LEASES_BLOCKED", 1)
    store = Wall()
    fresh = asyncio.run(blocked(store, 3 * LEASE))

    assert "other workers take over" in caplog.text
    assert store.beats[-1] - store.beats[0] < 1.5 * LEASE
    assert not fresh


def test_a_worker_that_was_declared_dead_meanwhile_is_not_kept_alive() -> None:
    store = Wall(alive=False)
    fresh = asyncio.run(blocked(store, LEASE))

    assert len(store.beats) == 1
    assert not fresh


def test_a_store_that_cannot_be_opened_is_no_end_of_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    class Closed(Wall):
        async def open(self, *, migrate: bool = True) -> None:
            del migrate
            raise RuntimeError("no way in")

    asyncio.run(blocked(Closed(), LEASE))

    assert "no way in" in caplog.text
    assert "the event loop was blocked for" in caplog.text


def test_a_loop_that_goes_on_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    store: Any = Wall()
    asyncio.run(blocked(store, 0.0, patience=0.7, lease=2.1))  # a machine that stands still for a while does not either

    assert store.beats == []
    assert "blocked" not in caplog.text

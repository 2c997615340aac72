"""The task that keeps a worker's lease: what it reports when others have declared the worker dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import msgspec
import pytest

from romancy.engine import host
from romancy.engine.incarnation import Incarnation
from romancy.engine.worker import lease, lease_keeper
from romancy.engine.worker.lease import Leases
from romancy.engine.worker.lease_keeper import LeaseKeeper
from romancy.errors import DatabaseReplacedError, StorageUnavailableError, UsageError
from romancy.storage.records import Host, Peer, Pulse, Takeover, Worker

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
        self.errors: list[Exception] = []
        """What the next heartbeats raise."""
        self.beats = 0
        self.moves: list[Takeover] = []
        """The answers to the next takeovers."""
        self.taken: list[str] = []

    async def takeover(self, _: str, peer: Peer, __: bytes, ___: str) -> Takeover:
        self.taken.append(peer.token)
        return self.moves.pop(0) if self.moves else Takeover()

    async def leave(self, worker: Worker) -> None:
        self.left.add(worker.token)

    async def heartbeat(self, worker: Worker) -> Pulse:
        self.beats += 1
        if self.errors:
            raise self.errors.pop(0)
        return Pulse(now=1, alive=worker.token not in self.dead, peers=self.others)


class Beating(Verdict):
    """A store that another worker with the id of this one, on another machine, sends a heartbeat before each."""

    async def heartbeat(self, worker: Worker) -> Pulse:
        pulse = await super().heartbeat(worker)
        elder = msgspec.structs.replace(one_elsewhere(), worker_id="w", beat=self.beats)
        return msgspec.structs.replace(pulse, peers=[elder])


class Holder:
    """A worker that notes what it is told about its lease."""

    def __init__(self, verdict: Verdict, *, named: bool = False, lease: int = LEASE) -> None:
        self.told: list[str] = []
        self.again = asyncio.Event()
        self.renewed = asyncio.Event()
        self.lapses = self.sweeps = 0
        self._store, self._named = cast("Store", verdict), named
        self._lease = lease
        self._incarnation = Incarnation()
        self.keeper = LeaseKeeper(self._store, self._incarnation, cast("Any", self), self)

    def new_leases(self) -> Leases:
        return Leases(
            self._store, self._incarnation.clock, worker_id="w", lease=self._lease, codes=(), named=self._named
        )

    def look(self) -> None:
        self.told.append("freed")

    def lease_renewed(self) -> None:
        """What waits for it may begin."""
        self.renewed.set()

    def took_over(self) -> None:
        self.sweeps += 1

    def lease_lapsed(self) -> None:
        """The machine may be slow."""
        self.lapses += 1

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
    """A rival on another machine shows only when its heartbeat counter goes on: by then the worker is at work."""
    verdict = Beating()
    holder = Holder(verdict, named=True)
    heart = holder.keeper
    await heart.begin()
    async with asyncio.timeout(60):
        await heart.run()  # it ends by itself
    heart.stop()

    assert len(holder.told) == 1
    assert "a worker with the id 'w' is already at work" in holder.told[0]
    assert {heart.leases.token} == verdict.left


def one_elsewhere(name: str = "elder", *, dead: bool = False) -> Peer:
    """A peer on another machine."""
    host = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
    return Peer(token=name, worker_id="o", lease=LEASE, beat=1, dead=dead, codes=(), host=host, started_at=0)


async def test_who_begins_takes_over_from_the_dead_until_nothing_is_left() -> None:
    verdict = Verdict()
    verdict.others = [one_elsewhere(), one_elsewhere("dead", dead=True), one_elsewhere("refused", dead=True)]
    some = Takeover(moved=("i",), left=True)
    verdict.moves = [some, some, Takeover(moved=("j",)), Takeover(moved=("k",), left=True, refused=True)]
    holder = Holder(verdict)
    await holder.keeper.begin()

    assert ["dead", "dead", "dead", "refused"] == verdict.taken
    assert ["freed", "freed"] == holder.told, "after each, what it had is looked for"
    assert holder.sweeps == 1, "what the dead one has not dispatched is looked for, once"


async def test_who_begins_beside_a_rival_leaves() -> None:
    """Else the others would wait a lease for a worker that never worked."""
    verdict = Beating()
    holder = Holder(verdict, named=True)
    for _ in range(2):
        await holder.keeper.leases.renew()

    with pytest.raises(UsageError, match="already at work"):
        await holder.keeper.begin()
    assert {holder.keeper.leases.token} == verdict.left


async def test_after_an_outage_it_beats_at_each_tick() -> None:
    """A whole interval later the lease may have run out."""
    verdict = Verdict()
    holder = Holder(verdict)
    await holder.keeper.begin()
    verdict.errors = [StorageUnavailableError("away") for _ in range(3)]

    with mock.patch.object(lease_keeper, "_LOOK_FOR_CORPSES_EVERY", 0.04):
        ticks = await ticks_of(holder.keeper, 6)

    assert ([0.04] * 6, 5) == (ticks, verdict.beats), "one at the beginning, one after an interval, and three more"


async def ticks_of(heart: LeaseKeeper, count: int) -> list[float]:
    """Return how long it waits, so many times."""
    ticks: list[float] = []

    async def tick(seconds: float) -> None:
        if len(ticks) == count:
            raise asyncio.CancelledError
        ticks.append(seconds)

    with mock.patch.object(asyncio, "sleep", tick), pytest.raises(asyncio.CancelledError):
        await heart.run()
    heart.stop()
    return ticks


@pytest.mark.parametrize(("gone", "beats"), [(False, 3), (True, 5)])
async def test_a_process_of_this_machine_that_is_gone_is_taken_over_at_once(
    monkeypatch: pytest.MonkeyPatch, *, gone: bool, beats: int
) -> None:
    verdict = Verdict()
    verdict.others = [msgspec.structs.replace(one_elsewhere(), lease=60_000_000)]
    holder = Holder(verdict, lease=30_000_000)
    await holder.keeper.begin()

    def is_gone(*_: object) -> bool:
        return gone

    monkeypatch.setattr(host, "certainly_gone", is_gone)

    assert ([1.0] * 4, beats) == (await ticks_of(holder.keeper, 4), verdict.beats)


async def test_it_beats_when_a_silent_peer_can_be_declared_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "boot_time", lambda: 0)
    verdict = Verdict()
    verdict.others = [msgspec.structs.replace(one_elsewhere(), lease=500_000)]
    holder = Holder(verdict, lease=30_000_000)
    await holder.keeper.begin()

    assert ([0.51] * 3, 4) == (await ticks_of(holder.keeper, 3), verdict.beats)


async def test_who_has_lost_its_database_beats_no_more() -> None:
    verdict = Verdict()
    holder = Holder(verdict)
    await holder.keeper.begin()
    verdict.errors = [DatabaseReplacedError("the file is another one")]
    async with asyncio.timeout(60):
        await holder.keeper.run()  # it ends by itself
    holder.keeper.stop()

    assert (["the file is another one"], 2) == (holder.told, verdict.beats)


async def beat(heart: LeaseKeeper) -> None:
    """Send one heartbeat, as `run` does."""
    await heart._renew()  # pyright: ignore[reportPrivateUsage] - `run` waits between two


class Wait:
    """What an event loop was asked to call later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: list[float] = []
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)

    def call_later(self, seconds: float, _: object) -> Wait:
        self.left.append(seconds)
        return self

    def cancel(self) -> None:
        """Nothing rings here by itself."""


async def test_a_lapse_is_told_once_and_again_after_each_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that nobody watched: the heartbeat looks before it is sent."""
    now = [0]
    monkeypatch.setattr(lease, "boot_time", lambda: now[0])
    verdict = Verdict()
    holder = Holder(verdict)
    heart = holder.keeper
    await heart.begin()
    Wait(monkeypatch)
    seen: list[tuple[int, int, bool]] = []
    for _ in range(2):
        now[0] += LEASE
        heart.watch()
        heart.watch()
        seen.append((holder.lapses, holder.told.count("reborn"), heart.has_lapsed))
        await beat(heart)
        seen.append((holder.lapses, holder.told.count("reborn"), heart.has_lapsed))
    now[0] += LEASE
    await beat(heart)

    assert [(1, 0, True), (1, 1, False), (2, 1, True), (2, 2, False)] == seen
    assert (3, ["reborn"] * 3) == (holder.lapses, holder.told)


async def test_a_renewed_lease_is_watched_until_it_ends_and_not_after_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(lease, "boot_time", lambda: now[0])
    holder = Holder(Verdict())
    heart = holder.keeper
    await heart.begin()
    wait = Wait(monkeypatch)
    now[0] += 2 * LEASE
    await beat(heart)
    assert [pytest.approx(LEASE / 1e6 + 0.01)] == wait.left
    heart.stop()
    heart.watch()
    now[0] += 2 * LEASE
    heart.watch()

    assert (1, 1) == (len(wait.left), holder.lapses)

"""Which workers may be taken over: those whose heartbeat counter this worker saw unchanged for their whole lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from msgspec.structs import replace

from romancy.engine.clock import DatabaseClock
from romancy.engine.worker import lease
from romancy.engine.worker.lease import Leases
from romancy.storage.records import Host, Peer, Pulse

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

LEASE = 10


class Ward:
    """A store with another worker, or more, on another machine; the test sets the heartbeat counter."""

    def __init__(self) -> None:
        self.beat = 1
        self.worker_id = "other"
        self.count = 1

    async def heartbeat(self, worker: object) -> Pulse:
        host = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
        other = Peer(
            token="other",
            worker_id=self.worker_id,
            lease=LEASE,
            beat=self.beat,
            dead=False,
            codes=(),
            host=host,
            started_at=0,
        )
        return Pulse(now=1, alive=True, peers=[replace(other, token=f"other{n or ''}") for n in range(self.count)])


@pytest.fixture
def ward() -> Ward:
    """A store with one other worker."""
    return Ward()


@pytest.fixture
def leases(ward: Ward) -> Leases:
    """The leases of the worker under test."""
    return Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=LEASE, codes=())


async def lost_at(leases: Leases, monkeypatch: pytest.MonkeyPatch, time: int) -> list[str]:
    """Send heartbeats at that time; return the tokens of workers that may be taken over."""
    monkeypatch.setattr(lease, "boot_time", lambda: time)
    assert await leases.renew()
    return [peer.token for peer in leases.lost()]


@pytest.mark.parametrize(("lease", "seconds"), [(3, 1.0), (30, 10.0), (600, 10.0)])
def test_a_long_lease_does_not_make_a_worker_blind_for_newcomers(ward: Ward, lease: int, seconds: float) -> None:
    """Workers that know a new peer replace it at once if it dies; they learn of it by a heartbeat."""
    own = Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=lease * 1_000_000, codes=())

    assert seconds == own.interval


@pytest.mark.parametrize(("peers", "seconds"), [(0, 10.0), (1, 1.5), (75, 1.5), (300, 6.0), (2000, 10.0)])
async def test_many_peers_are_not_read_many_times_a_second(peers: int, seconds: float) -> None:
    ward = Ward()
    ward.count = peers
    own = Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=30_000_000, codes=())

    assert await own.renew()

    assert own.interval == pytest.approx(seconds)


async def test_who_stands_still_for_a_lease_is_lost(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {time: await lost_at(leases, monkeypatch, time) for time in (0, 4, 8, 10)}

    assert seen == {0: [], 4: [], 8: [], 10: ["other"]}


async def test_each_beat_begins_the_lease_anew(ward: Ward, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    for time in range(0, 40, 4):
        ward.beat += time % 8 == 0
        assert await lost_at(leases, monkeypatch, time) == []


async def test_what_was_seen_before_an_absence_of_ones_own_does_not_count(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: after an outage of the database, all heartbeats are old and no worker is dead."""
    seen = {time: await lost_at(leases, monkeypatch, time) for time in (0, 30, 36, 40)}

    assert seen == {0: [], 30: [], 36: [], 40: ["other"]}


@pytest.fixture
def named(ward: Ward) -> Leases:
    """A worker with a configured id, which the other one has too."""
    ward.worker_id = "w"
    return Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=LEASE, codes=(), named=True)


async def rival_at_each_beat(ward: Ward, leases: Leases, beats: list[int]) -> list[str | None]:
    """Return its rival after each heartbeat, while the other's counter has these values."""
    found: list[str | None] = []
    for ward.beat in beats:
        assert await leases.renew()
        rival = leases.rival()
        found.append(None if rival is None else rival.token)
    return found


async def test_one_of_the_same_id_elsewhere_is_a_rival_once_its_beat_moves(ward: Ward, named: Leases) -> None:
    """What a dead worker left looks the same at first; a restarted container must not wait for it."""
    assert await rival_at_each_beat(ward, named, [7, 7, 7, 8, 9]) == [None, None, None, "other", "other"]


async def test_one_of_the_same_id_that_came_later_is_no_rival(ward: Ward, named: Leases) -> None:
    """Only the newcomer must stop; otherwise both would."""
    ward.count = 0
    assert await rival_at_each_beat(ward, named, [1]) == [None]
    ward.count = 1

    assert await rival_at_each_beat(ward, named, [1, 2, 3]) == [None, None, None]


async def test_workers_that_were_given_no_id_are_nobodys_rivals(ward: Ward, leases: Leases) -> None:
    ward.worker_id = "w"

    assert await rival_at_each_beat(ward, leases, [1, 2, 3]) == [None, None, None]


class Session:
    """An open session that keeps all others from writing."""

    def __init__(self) -> None:
        self.excluding = True
        self.renewed: bool | None = None

    def end(self, *, renewed: bool) -> None:
        """End its transaction."""
        self.excluding, self.renewed = False, renewed


class Slow(Ward):
    """A store with slow answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._monkeypatch = monkeypatch
        self.answered_at = 0

    async def heartbeat(self, worker: object) -> Pulse:
        if self.answered_at:
            self._monkeypatch.setattr(lease, "boot_time", lambda: self.answered_at)
        return await super().heartbeat(worker)


def at(monkeypatch: pytest.MonkeyPatch, time: int) -> None:
    monkeypatch.setattr(lease, "boot_time", lambda: time)


async def test_nobody_is_found_silent_while_a_session_keeps_all_from_writing(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lost_at(leases, monkeypatch, 0)
    session = Session()
    leases.hold(session)

    at(monkeypatch, 100)
    assert leases.fresh()
    assert leases.left() > 0
    session.end(renewed=True)

    assert leases.fresh(), "its end was a heartbeat"
    assert [] == leases.lost()
    assert [] == await lost_at(leases, monkeypatch, 109), "the other could not beat either, until 100"
    assert ["other"] == await lost_at(leases, monkeypatch, 110)


async def test_an_end_that_was_no_heartbeat_leaves_the_lease_as_it_was(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lost_at(leases, monkeypatch, 0)
    session = Session()
    leases.hold(session)
    at(monkeypatch, 9)
    assert leases.fresh()
    at(monkeypatch, 100)
    session.end(renewed=False)

    assert not leases.fresh()
    assert 0.0 == leases.left()


async def test_an_end_that_is_not_known_yet_ends_nothing(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its COMMIT is under way. The time when the session was last seen open counts."""
    await lost_at(leases, monkeypatch, 0)
    session = Session()
    leases.hold(session)
    at(monkeypatch, 100)
    assert leases.fresh()
    session.excluding = False
    at(monkeypatch, 200)
    assert leases.fresh()
    session.end(renewed=True)

    assert not leases.fresh(), "the beat was written some time after 100"


async def test_a_lapsed_lease_is_not_held(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    await lost_at(leases, monkeypatch, 0)
    at(monkeypatch, 10)
    leases.hold(Session())

    assert not leases.fresh()


async def test_a_beat_that_had_to_wait_for_the_file_finds_nobody_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What delayed this heartbeat delayed those of the others as well."""
    ward = Slow(monkeypatch)
    own = Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=LEASE, codes=(), exclusive=True)
    await lost_at(own, monkeypatch, 0)
    ward.answered_at = 9
    await lost_at(own, monkeypatch, 4)
    ward.answered_at = 0

    assert [] == await lost_at(own, monkeypatch, 10)
    assert [] == await lost_at(own, monkeypatch, 18)
    assert ["other"] == await lost_at(own, monkeypatch, 19)

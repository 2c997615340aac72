"""Which workers may be taken over: those whose heartbeat counter this worker saw unchanged for their whole lease."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from romancy.engine.clock import DatabaseClock
from romancy.engine.worker import lease
from romancy.engine.worker.lease import Leases
from romancy.storage.records import Host, Peer, Pulse, Worker

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


async def test_a_peer_may_beat_between_our_question_and_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease then ends later than a lease after our question."""
    slow = Slow(monkeypatch)
    leases = Leases(cast("Store", slow), DatabaseClock(), worker_id="w", lease=LEASE, codes=())
    assert await lost_at(leases, monkeypatch, 0) == []
    slow.beat, slow.answered_at = 2, 8
    assert await lost_at(leases, monkeypatch, 4) == []
    slow.answered_at = 0

    seen = {time: await lost_at(leases, monkeypatch, time) for time in (11, 14, 17, 18)}

    assert seen == {11: [], 14: [], 17: [], 18: ["other"]}


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


async def test_one_of_the_same_id_elsewhere_is_a_rival_once_its_beat_moves_again(ward: Ward, named: Leases) -> None:
    """What a dead worker left looks the same at first; a restarted container must not wait for it."""
    assert await rival_at_each_beat(ward, named, [7, 7, 8, 8, 9, 9]) == [None, None, None, None, "other", "other"]


async def test_late_heartbeats_of_a_dead_one_of_the_same_id_make_no_rival(ward: Ward, named: Leases) -> None:
    """The database carries out what it had sent, and the newcomer has registered before."""
    assert await rival_at_each_beat(ward, named, [7, 9, 9, 9]) == [None] * 4


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


async def test_the_lease_counts_from_before_the_beat_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may have written it as soon as that. A peer that saw it then waits no longer than a lease."""
    ward = Slow(monkeypatch)
    own = Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=LEASE, codes=())
    ward.answered_at = 6
    await lost_at(own, monkeypatch, 0)

    at(monkeypatch, 9)
    assert (own.fresh(), own.left()) == (True, 1e-6)
    at(monkeypatch, 10)
    assert (own.fresh(), own.left()) == (False, 0.0)


async def test_so_does_one_through_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    ward = Slow(monkeypatch)
    own = Leases(cast("Store", ward), DatabaseClock(), worker_id="w", lease=LEASE, codes=())
    at(monkeypatch, 0)
    ward.answered_at = 6
    assert await own.renew_through(cast("Store", ward))

    at(monkeypatch, 9)
    assert own.fresh()
    at(monkeypatch, 10)
    assert not own.fresh()


@pytest.mark.parametrize("through", [False, True])
async def test_a_beat_that_is_answered_late_takes_nothing_from_a_later_one(
    monkeypatch: pytest.MonkeyPatch, *, through: bool
) -> None:
    """A watchdog may beat through another store meanwhile."""
    crossed: list[bool] = []

    class Crossing(Ward):
        async def heartbeat(self, worker: object) -> Pulse:
            if not crossed:
                crossed.append(True)
                await lost_at(own, monkeypatch, 8)
            return await super().heartbeat(worker)

    store = cast("Store", Crossing())
    own = Leases(store, DatabaseClock(), worker_id="w", lease=LEASE, codes=())
    at(monkeypatch, 0)
    assert await (own.renew_through(store) if through else own.renew())

    at(monkeypatch, 17)
    assert own.fresh()


class Registry(Ward):
    """A store whose answers the test writes, and which notes what it is told."""

    def __init__(self, *peers: Peer, now: int = 1, alive: bool = True) -> None:
        super().__init__()
        self.pulse = Pulse(now=now, alive=alive, peers=list(peers))
        self.told: list[Worker] = []

    async def heartbeat(self, worker: object) -> Pulse:
        assert isinstance(worker, Worker)
        self.told.append(worker)
        return self.pulse


ELSEWHERE = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
PEER = Peer(
    token="other", worker_id="other", lease=LEASE, beat=1, dead=False, codes=("c1",), host=ELSEWHERE, started_at=0
)


def leases_of(store: object, clock: DatabaseClock | None = None, **options: Any) -> Leases:
    given: dict[str, Any] = {"worker_id": "w", "lease": LEASE, "codes": ("c1",)} | options
    return Leases(cast("Store", store), clock or DatabaseClock(), **given)


async def test_a_peer_may_be_silent_for_its_own_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    own = leases_of(Registry(replace(PEER, lease=3 * LEASE), replace(PEER, token="brief", lease=LEASE // 2)))

    seen = {time: await lost_at(own, monkeypatch, time) for time in (0, 4, 5, 12, 20, 29, 30)}

    assert seen == {time: ["brief"] if 5 <= time < 30 else [] for time in seen} | {30: ["other", "brief"]}


async def test_the_dead_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken over at once; the next expiry is that of a live one, or a lease."""
    store = Registry(replace(PEER, dead=True))
    own = leases_of(store, lease=100)
    await lost_at(own, monkeypatch, 0)
    assert own.next_expiry() == pytest.approx(100e-6)
    store.pulse.peers.append(replace(PEER, token="live", lease=50))
    await lost_at(own, monkeypatch, 10)
    at(monkeypatch, 20)

    assert own.next_expiry() == pytest.approx(40e-6)


async def test_a_dead_one_of_the_same_id_is_no_rival() -> None:
    """The worker before this one with its id, which has left or was declared dead."""
    store = Registry(replace(PEER, worker_id="w"))
    own = leases_of(store, named=True)
    assert await own.renew()
    store.pulse = Pulse(now=1, alive=True, peers=[replace(PEER, worker_id="w", beat=2, dead=True)])
    assert await own.renew()

    assert own.rival() is None


async def test_each_beat_tells_the_room_of_now() -> None:
    store, rooms = Registry(), ["room 1", "room 2", ""]
    own = leases_of(store, room=lambda: rooms.pop(0))
    for _ in range(3):
        assert await own.renew()

    assert [("c1", "room 1"), ("c1", "room 2"), ("c1",)] == [worker.codes for worker in store.told]


@pytest.mark.parametrize(
    ("peers", "has"),
    [
        ([PEER], True),
        ([replace(PEER, codes=("c0", "c1"))], True),
        ([replace(PEER, codes=("c2",))], False),
        ([replace(PEER, dead=True)], False),
        ([], False),
    ],
)
async def test_a_peer_is_who_knows_the_same_workflows(peers: list[Peer], *, has: bool) -> None:
    own = leases_of(Registry(*peers))
    assert await own.renew()

    assert own.has_peers() is has


async def test_the_dead_are_not_revived_by_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Registry(alive=False)
    own = leases_of(store)
    at(monkeypatch, 0)

    assert [False, False] == [await own.renew(), await own.renew_through(cast("Store", store))]
    assert not own.fresh()


async def test_a_beat_sets_the_clock() -> None:
    clock = DatabaseClock(lambda: 0)
    assert await leases_of(Registry(now=77_000_000), clock).renew()

    assert 77_000_000 == clock.now()


async def test_who_looks_around_without_a_beat_does_not_see_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(Registry):
        services = SimpleNamespace()

        async def census(self) -> object:
            return SimpleNamespace(workers=[PEER, replace(PEER, token=own.token)])

    store = Counted()
    own = leases_of(store)
    store.services.reading = store
    await lost_at(own, monkeypatch, 0)
    await own.meet()

    assert [PEER] == own.peers

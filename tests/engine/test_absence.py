"""How long no live worker has known a workflow: what counts, and what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from msgspec.structs import replace

from romancy.engine.host import this_host
from romancy.engine.outside.absence import Absence, others_may_try
from romancy.engine.surroundings import Surroundings
from romancy.status import Status
from romancy.storage.records import Capabilities, Census, History, Host, InstanceRow, LogRow, Peer
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

LEASE = 10
FAR = Host(boot_id="another machine", pid_namespace="1", pid=1, pid_start=1)
PEER = Peer(
    token="w", worker_id="w", lease=LEASE, beat=1, dead=False, codes=("v1", "workflow=trip"), host=FAR, started_at=0
)
ROW = InstanceRow(
    instance_id="i",
    life=1,
    workflow_name="trip",
    status=Status.PENDING,
    code="v1",
    created_at=0,
    updated_at=0,
    input=b"",
)


@pytest.fixture
def anyio_backend() -> str:
    """The test runs on asyncio."""
    return "asyncio"


class Registered:
    """A store that only answers for its workers."""

    def __init__(self) -> None:
        self.now = 1000
        self.workers: list[Peer] = []
        self.looks = 0
        self.capabilities = Capabilities(name="", push=True, transactional_ddl=True, sql=True, placeholder="?")
        self.services = SimpleNamespace(reading=self, offered={Service.READING})

    async def census(self) -> Census:
        self.looks += 1
        return Census(now=self.now, workers=self.workers)

    async def read(self, instance_id: str, *, after: int, limit: int) -> History:
        return History(instance=ROW, rows=[LogRow(1, "parker.7", b"", 0)])


class World:
    """An absence, checked whenever the database's clock has advanced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Registered()
        self.absence = Absence(LEASE)
        self.row = ROW
        monkeypatch.setattr(Surroundings, "seconds", staticmethod(lambda: self.store.now / 1_000_000))

    async def at(self, now: int, *workers: Peer) -> bool:
        self.store.now, self.store.workers = now, list(workers)
        return await self.absence.is_over(cast("Store", self.store), self.row)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A database without workers."""
    return World(monkeypatch)


def beating(now: int) -> Peer:
    return replace(PEER, beat_at=now)


async def test_two_leases_without_anybody_are_over(world: World) -> None:
    assert [False, False, True] == [await world.at(now) for now in (1000, 1010, 1020)]


async def test_a_worker_that_lives_and_knows_it_is_enough(world: World) -> None:
    assert not any([await world.at(now, beating(now)) for now in range(1000, 1100, 10)])


async def test_one_that_does_not_know_it_is_not(world: World) -> None:
    stranger = replace(PEER, codes=("v1", "workflow=other"))
    told = [await world.at(now, replace(stranger, beat_at=now)) for now in (1000, 1010, 1020)]
    assert [False, False, True] == told


async def test_a_rolling_restart_begins_the_count_anew(world: World) -> None:
    assert not await world.at(1000)
    assert not await world.at(1010)
    assert not await world.at(1020, beating(1019))
    assert [False, False, True] == [await world.at(now) for now in (1031, 1041, 1051)]


async def test_a_silent_worker_counts_from_its_last_beat(world: World) -> None:
    assert not await world.at(1000)
    assert not await world.at(1015, replace(beating(1012), dead=True))
    assert not await world.at(1026, replace(beating(1012), dead=True))
    assert await world.at(1036, replace(beating(1012), dead=True))


async def test_what_nobody_has_seen_does_not_count(world: World) -> None:
    assert not await world.at(1000)
    assert [False, False, True] == [await world.at(now) for now in (1100, 1110, 1120)]


async def test_who_wrote_to_the_instance_knew_it(world: World) -> None:
    assert not await world.at(1000)
    world.row = replace(ROW, updated_at=1005)
    assert [False, False, True] == [await world.at(now) for now in (1010, 1020, 1030)]


async def test_the_longest_lease_counts(world: World) -> None:
    other = replace(beating(1000), lease=15, dead=True)
    assert [False, False, False, True] == [await world.at(now, other) for now in (1000, 1010, 1020, 1030)]


async def test_one_look_a_lease_serves_all(world: World) -> None:
    for now in (1000, 1003, 1006, 1009):
        await world.at(now)
    assert world.store.looks == 1


async def test_a_session_that_keeps_a_worker_from_beating_is_no_absence(world: World) -> None:
    """Where sessions exclude writers, a process of this machine may be at work; elsewhere it has lost its lease."""
    here = replace(beating(1000), host=this_host())
    world.store.capabilities = replace(world.store.capabilities, sessions_exclude=True)
    assert not any([await world.at(now, here) for now in range(1000, 1100, 10)])
    world.store.capabilities = replace(world.store.capabilities, sessions_exclude=False)
    assert [False, False, True] == [await world.at(now, here) for now in (1100, 1110, 1120)]


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (beating(1000), True),
        (replace(beating(1000), token="parker"), False),
        (replace(beating(1000), codes=("workflow=other",)), False),
        (replace(beating(1000), dead=True), False),
        (beating(900), False),
    ],
    ids=["another", "the one that parked it", "one that does not know it", "a dead one", "a silent one"],
)
async def test_who_may_yet_take_up_what_another_parked(world: World, peer: Peer, *, may: bool) -> None:
    world.store.workers = [peer]
    assert may is await others_may_try(cast("Store", world.store), ROW)


async def test_who_has_had_its_time_has_refused_it(world: World) -> None:
    world.store.now = 100_000_000
    world.store.workers = [replace(beating(world.store.now), started_at=39_000_000)]
    assert not await others_may_try(cast("Store", world.store), ROW)
    world.store.workers = [replace(beating(world.store.now), started_at=41_000_000)]
    assert await others_may_try(cast("Store", world.store), ROW)


async def test_an_older_worker_does_not_say_what_it_knows_and_may_know_it(world: World) -> None:
    older = replace(PEER, codes=("v1",))

    for now in range(1000, 1000 + 6 * LEASE, LEASE):
        assert not await world.at(now, replace(older, beat_at=now))
    assert not await world.at(2000, replace(PEER, codes=(), beat_at=2000))
    assert await world.at(2000 + 2 * LEASE, replace(PEER, codes=(), beat_at=2000 + 2 * LEASE))

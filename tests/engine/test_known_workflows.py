"""What a worker's row tells beside the versions of its code, and who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy.core import OwnerChanged, decode_commit
from romancy.engine.incarnation import Incarnation
from romancy.engine.worker.known_workflows import (
    known_in,
    names_in,
    names_told,
    room_in,
    room_told,
    suspects_in,
    suspects_told,
    tried_in,
    versions_in,
)
from romancy.engine.worker.lease import Leases
from romancy.engine.worker.lease_keeper import LeaseKeeper
from romancy.storage.records import Host, Peer, Pulse, Takeover, Worker

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


ROW = ["c1", *names_told(["order"]), room_told([3, 2]), *suspects_told(4, "a=b,c")]


def test_what_a_row_tells_is_read_again() -> None:
    assert (["order"], ["c1"]) == (sorted(names_in(ROW)), sorted(versions_in(ROW)))
    assert ([3, 2], 4, "a=b,c") == (room_in(ROW), suspects_in(ROW), tried_in(ROW))
    assert known_in(ROW) == {"c1", "workflow=order"}


def test_who_has_no_suspects_tells_nothing_of_them() -> None:
    assert suspects_told(0, "") == []
    assert (0, "") == (suspects_in(["c1"]), tried_in(["c1"]))


class Witness:
    """A store that notes what heartbeats tell, and what a takeover writes."""

    def __init__(self, *peers: Peer) -> None:
        self.told: list[tuple[str, ...]] = []
        self.written: list[OwnerChanged] = []
        self.peers = list(peers)

    async def heartbeat(self, worker: Worker) -> Pulse:
        self.told.append(worker.codes)
        return Pulse(now=1, alive=True, peers=self.peers)

    async def leave(self, worker: Worker) -> None:
        self.told.append(worker.codes)

    async def takeover(self, _worker: str, _dead: Peer, body: bytes, _writer: str) -> Takeover:
        (event,) = decode_commit(body)
        assert isinstance(event, OwnerChanged)
        self.written.append(event)
        return Takeover(moved=(), left=False)

    def took_over(self) -> None:
        """As the holder of the lease: nothing is dispatched here."""


def leases_of(witness: Witness, suspects: list[str]) -> Leases:
    store, clock = cast("Store", witness), Incarnation().clock
    return Leases(
        store, clock, worker_id="w", lease=300_000, codes=("c1",), room=lambda: "room=1", suspects=lambda: suspects
    )


async def test_each_heartbeat_tells_of_suspects_as_they_are_then() -> None:
    witness, suspects = Witness(), list[str]()
    leases = leases_of(witness, suspects)
    for tells in (["tried=a"], [], ["suspects=1"]):
        suspects[:] = tells
        await leases.renew()
    suspects.clear()
    await leases.leave()

    assert witness.told == [
        ("c1", "room=1", "tried=a"), ("c1", "room=1"), ("c1", "room=1", "suspects=1"), ("c1", "room=1"),
    ]  # fmt: skip


async def test_who_takes_over_writes_what_the_dead_worker_was_trying() -> None:
    """At once, when the heartbeat that registers it has brought the row of the dead one."""
    rows = [("c1", *suspects_told(2, "a")), ("c1",)]
    peers = [
        Peer(token=f"w{n}", worker_id="w", lease=1, beat=3, dead=True, codes=codes, host=Host(), started_at=1)
        for n, codes in enumerate(rows)
    ]
    witness = Witness(*peers)
    world = cast("Any", witness)
    world.new_leases = lambda: leases_of(witness, [])
    world.look = bool
    await LeaseKeeper(world, Incarnation(), world, world).begin()

    assert [event.tried for event in witness.written] == ["a", ""]

"""Heartbeats, and taking over from dead workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from romancy.storage.records import Census, Host, Peer, Pulse, Takeover
from romancy_mysql._database import pause
from romancy_mysql._errors import LockWaitError
from romancy_mysql._sql import as_select, comma, source

if TYPE_CHECKING:
    from romancy.storage.records import Worker
    from romancy_mysql._database import Database
    from romancy_mysql._sql import Value

__all__ = ["Leases"]

_ROUNDS = 5


class Leases:
    """The workers' rows. Remembers which workers it registered: if such a row is gone, the worker is dead."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registered: set[str] = set()

    async def heartbeat(self, worker: Worker, *, leaving: bool) -> Pulse:
        """As `Store.heartbeat` and `Store.leave` promise, in one round trip, on the `heartbeats` pool's connection."""
        database = self._database
        token = worker.token
        first = [] if token in self._registered else [database["register"].statement(_columns(worker))]
        *_, beat, peers = await database.ask(
            *first,
            database["beat"].statement(_columns(worker), leaving=leaving),
            database.statement("peers", token=token),
            pool=database.heartbeats,
        )
        self._registered.add(token)
        return Pulse(
            now=int(peers.rows[0][0]),
            alive=beat.affected > 0 and not leaving,
            peers=[_peer(line[1:]) for line in peers.rows if line[1] is not None],
        )

    async def census(self) -> Census:
        """As `Reading.census` promises, in one round trip."""
        (peers,) = await self._database.ask(self._database.statement("peers", token=""))
        return Census(
            now=int(peers.rows[0][0]), workers=[_peer(line[1:]) for line in peers.rows if line[1] is not None]
        )

    async def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, limit: int) -> Takeover:
        """As `Store.takeover` promises. Marking comes first, in its own commit, and bars the dead worker's writes."""
        database = self._database
        _, alive, beat = await database.ask(
            database.statement("mark_dead", worker=worker, dead=dead.token, beat=dead.beat),
            database.statement("look_alive", worker=worker),
            database.statement("read_beat", token=dead.token),
        )
        if not alive.rows or not beat.rows or not beat.rows[0][0]:
            return Takeover(refused=True)
        held: set[str] = set()
        for attempt in range(_ROUNDS):
            owned = await self._owned(dead.token, limit + len(held) + 1)
            chunk = [one for one in owned if one.instance_id not in held][:limit]
            if not chunk:
                return Takeover(left=bool(owned))
            try:
                if await self._free(worker, dead.token, chunk, body, writer):
                    moved = tuple(one.instance_id for one in chunk)
                    return Takeover(moved=moved, left=len(owned) > len(moved))
            except LockWaitError:
                held |= await self._held(dead.token, chunk)
            await pause(attempt)
        return Takeover(left=True)

    async def _owned(self, dead: str, limit: int, *, uncommitted: bool = False) -> list[_Owned]:
        look = self._database.statement("read_owned", owner=dead, limit=limit)
        first = [self._database.statement("see_uncommitted")] if uncommitted else []
        *_, answer = await self._database.ask(*first, look)
        return [_Owned(one.decode(), int(life), int(head or 0)) for one, life, head in answer.rows]

    async def _free(self, worker: str, dead: str, chunk: list[_Owned], body: bytes, writer: str) -> bool:
        """Write log rows and instances in one transaction. False if one of the logs has grown in the meantime."""
        database = self._database
        marks: list[Value] = [database["living_writer"].render(writer=writer, token=worker)]
        marks += [writer] * (len(chunk) - 1)
        lines = [comma((*one.place, mark, body)) for one, mark in zip(chunk, marks, strict=True)]
        parameters = source(("instance_id", "life", "head"), chunk)
        return await database.write(
            [
                database.statement("append_log", rows=as_select(lines), expected=len(chunk)),
                database["free_from_dead"].statement(parameters, dead=dead, expected=len(chunk)),
            ],
            lock_waits=0,
        )

    async def _held(self, dead: str, chunk: list[_Owned]) -> set[str]:
        """The instances to whose log another transaction is writing, and those whose row it holds."""
        ahead = {one.instance_id: one.head for one in await self._owned(dead, len(chunk), uncommitted=True)}
        ids = comma(one.instance_id for one in chunk)
        (answer,) = await self._database.ask(self._database.statement("free_instances", ids=ids))
        free = {line[0].decode() for line in answer.rows}
        return {
            one.instance_id for one in chunk if ahead.get(one.instance_id) != one.head or one.instance_id not in free
        }


class _Owned(NamedTuple):
    """An instance of a dead worker, with the last seq of its log."""

    instance_id: str
    life: int
    head: int

    @property
    def place(self) -> tuple[str, int, int]:
        """The place of the next row."""
        return self.instance_id, self.life, self.head + 1


def _columns(worker: Worker) -> dict[str, Value]:
    host = worker.host
    return {
        "token": worker.token,
        "worker_id": worker.worker_id,
        "lease": worker.lease,
        "codes": "\n".join(worker.codes),
        "boot_id": host.boot_id,
        "pid_namespace": host.pid_namespace,
        "pid": host.pid,
        "pid_start": host.pid_start,
    }


def _peer(line: tuple[Any, ...]) -> Peer:
    token, worker_id, lease, beat, dead, codes, boot_id, namespace, pid, pid_start, started_at, beat_at = line
    return Peer(
        token=token.decode(),
        worker_id=worker_id.decode(),
        lease=lease,
        beat=beat,
        dead=bool(dead),
        codes=tuple(codes.decode().split("\n")) if codes else (),
        host=Host(boot_id=boot_id.decode(), pid_namespace=namespace.decode(), pid=pid, pid_start=pid_start),
        started_at=started_at,
        beat_at=beat_at,
    )

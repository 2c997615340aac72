"""Workers: heartbeats, declaring a worker dead, and freeing what it owned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.marks import WORKER_NEWS
from romancy.storage.records import Census, Host, Peer, Pulse, Takeover
from romancy_postgres._errors import LockedError

if TYPE_CHECKING:
    import asyncpg

    from romancy.storage.records import Worker
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["census", "heartbeat", "takeover"]

_ROUNDS = 3


async def heartbeat(
    database: Database, signals: Signals, worker: Worker, registered: set[str], *, leaving: bool
) -> Pulse:
    """As `Store.heartbeat` and `Store.leave` promise, on a connection of the `heartbeats` pool.

    `registered` are the workers that had a row by this store: without one, such a worker is dead.
    """
    host = worker.host
    beats = await database.fetch(
        "beat",
        worker.token,
        worker.worker_id,
        worker.lease,
        list(worker.codes),
        host.boot_id,
        host.pid_namespace,
        host.pid,
        host.pid_start,
        leaving,
        worker.token in registered,
        pool=database.heartbeats,
    )
    registered.add(worker.token)
    if worker.codes and beats and beats[0]["beat"] == 1:
        signals.tell([WORKER_NEWS + worker.token])
    rows = await database.fetch("peers", worker.token, pool=database.heartbeats)
    return Pulse(
        now=rows[0]["now"],
        alive=rows[0]["alive"],
        peers=[_peer(row) for row in rows if row["token"] is not None],
    )


def _peer(row: asyncpg.Record) -> Peer:
    return Peer(
        token=row["token"],
        worker_id=row["worker_id"],
        lease=row["lease"],
        beat=row["beat"],
        dead=row["dead"],
        codes=tuple(row["codes"]),
        host=Host(
            boot_id=row["boot_id"],
            pid_namespace=row["pid_namespace"],
            pid=row["pid"],
            pid_start=row["pid_start"],
        ),
        started_at=row["started_at"],
        beat_at=row["beat_at"],
    )


async def census(database: Database) -> Census:
    """As `Reading.census` promises."""
    rows = await database.fetch("peers", "")
    return Census(now=rows[0]["now"], workers=[_peer(row) for row in rows if row["token"] is not None])


async def takeover(
    database: Database, signals: Signals, worker: str, dead: Peer, body: bytes, writer: str, *, limit: int
) -> Takeover:
    """As `Store.takeover` promises. Marking the worker dead is one commit; each freeing statement is its own."""
    if not await database.fetch("declare_dead", worker, dead.token, dead.beat):
        return Takeover(refused=True)
    moved: list[str] = []
    left = True
    for _ in range(_ROUNDS):
        moved += await _free(database, worker, dead.token, body, writer, limit=limit - len(moved))
        left = bool(await database.fetch("owned", dead.token, 1))
        if not left or len(moved) >= limit:
            break
    signals.tell(set(moved))
    return Takeover(moved=tuple(moved), left=left)


async def _free(database: Database, worker: str, dead: str, body: bytes, writer: str, *, limit: int) -> list[str]:
    """Free one chunk. If a place in one of the logs is locked, try each instance by itself, without waiting twice."""

    async def attempt(only: list[str] | None) -> list[str]:
        rows = await database.single(
            lambda link: link.fetch("free", dead, worker, limit, writer, body, only), lock_waits=0
        )
        return [row[0] for row in rows]

    try:
        return await attempt(None)
    except LockedError:
        pass
    moved: list[str] = []
    for row in await database.fetch("owned", dead, limit):
        try:
            moved += await attempt([row[0]])
        except LockedError:
            continue
    return moved

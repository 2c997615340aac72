"""Declaring a worker dead, and freeing what it owned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import Takeover
from romancy.storage.sqlkit.statements import LockedError

if TYPE_CHECKING:
    from romancy.storage.records import Peer
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["takeover"]

_ROUNDS = 3


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

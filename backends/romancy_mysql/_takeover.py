"""Taking over from dead workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.storage.records import Takeover
from romancy_mysql._database import pause
from romancy_mysql._errors import LockWaitError
from romancy_mysql._sql import as_select, comma, source

if TYPE_CHECKING:
    from romancy.storage.records import Peer
    from romancy_mysql._database import Database
    from romancy_mysql._sql import Value

__all__ = ["takeover"]

_ROUNDS = 5


async def takeover(database: Database, worker: str, dead: Peer, body: bytes, writer: str, limit: int) -> Takeover:
    """As `Store.takeover` promises. Marking comes first, in its own commit, and bars the dead worker's writes."""
    _, alive, beat = await database.ask(
        database.statement("mark_dead", worker=worker, dead=dead.token, beat=dead.beat),
        database.statement("look_alive", worker=worker),
        database.statement("read_beat", token=dead.token),
    )
    if not alive.rows or not beat.rows or not beat.rows[0][0]:
        return Takeover(refused=True)
    held: set[str] = set()
    for attempt in range(_ROUNDS):
        owned = await _owned(database, dead.token, limit + len(held) + 1)
        chunk = [one for one in owned if one.instance_id not in held][:limit]
        if not chunk:
            return Takeover(left=bool(owned))
        try:
            if await _free(database, worker, dead.token, chunk, body, writer):
                moved = tuple(one.instance_id for one in chunk)
                return Takeover(moved=moved, left=len(owned) > len(moved))
        except LockWaitError:
            held |= await _held(database, dead.token, chunk)
        await pause(attempt)
    return Takeover(left=True)


async def _owned(database: Database, dead: str, limit: int, *, uncommitted: bool = False) -> list[_Owned]:
    look = database.statement("read_owned", owner=dead, limit=limit)
    first = [database.statement("see_uncommitted")] if uncommitted else []
    *_, answer = await database.ask(*first, look)
    return [_Owned(one.decode(), int(life), int(head or 0)) for one, life, head in answer.rows]


async def _free(database: Database, worker: str, dead: str, chunk: list[_Owned], body: bytes, writer: str) -> bool:
    """Write log rows and instances in one transaction. False if one of the logs has grown in the meantime."""
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


async def _held(database: Database, dead: str, chunk: list[_Owned]) -> set[str]:
    """The instances to whose log another transaction is writing, and those whose row it holds."""
    ahead = {one.instance_id: one.head for one in await _owned(database, dead, len(chunk), uncommitted=True)}
    ids = comma(one.instance_id for one in chunk)
    (answer,) = await database.ask(database.statement("free_instances", ids=ids))
    free = {line[0].decode() for line in answer.rows}
    return {one.instance_id for one in chunk if ahead.get(one.instance_id) != one.head or one.instance_id not in free}


class _Owned(NamedTuple):
    """An instance of a dead worker, with the last seq of its log."""

    instance_id: str
    life: int
    head: int

    @property
    def place(self) -> tuple[str, int, int]:
        """The place of the next row."""
        return self.instance_id, self.life, self.head + 1

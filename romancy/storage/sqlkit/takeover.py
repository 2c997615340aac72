"""Takeovers in an SQL database: a dead worker is marked, and what it owned is freed, each instance with its log entry.

The mark is a commit of its own, and bars the dead worker's writes. A chunk is freed without waiting for locks: the dead
worker may be a frozen process whose transaction holds some. What others hold is left for the next call.

Where one transaction writes at a time, nobody holds anything, and mark and chunk are one transaction.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from romancy.storage.records import Takeover
from romancy.storage.sqlkit.statements import Ask, LockedError, OvertakenError, ask, ask_last, tell

if TYPE_CHECKING:
    from romancy.storage.records import Peer
    from romancy.storage.sqlkit.statements import Interpreter, Operation, Values

__all__ = ["Takeovers"]

_ROUNDS = 3
"""How often a chunk is filled up: a log that has grown in the meantime leaves its instance out."""


class Takeovers:
    """As `Store.takeover` promises. `at_once`: one transaction writes at a time."""

    def __init__(self, interpreter: Interpreter, *, at_once: bool = False) -> None:
        self._interpreter = interpreter
        self._at_once = at_once

    async def take_over(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int) -> Takeover:
        about = {"dead": dead.token, "beat": dead.beat, "worker": worker, "writer": writer, "body": body}
        if self._at_once:
            return await self._interpreter.together(partial(_take_over, {**about, "limit": limit}), weight=limit)
        if not (await self._interpreter.in_turn(partial(ask, "declare_dead", **about))).touched:
            return Takeover(refused=True)
        return await self._free_chunk(about, limit)

    async def _free_chunk(self, about: Values, limit: int) -> Takeover:
        moved: list[str] = []
        left = True
        for _ in range(_ROUNDS):
            some = {**about, "limit": limit - len(moved)}
            try:
                freed, left = await self._free({**some, "every": True, "ids": []})
            except LockedError:
                moved += await self._free_apart(some)
                break
            except OvertakenError:
                break
            moved += freed
            if not left or len(moved) >= limit:
                break
        return Takeover(moved=tuple(moved), left=left)

    async def _free_apart(self, some: Values) -> list[str]:
        """Free, in portions, what can be freed beside what others hold."""
        apart = partial(ask, "free_apart", dead=some["dead"], limit=some["limit"])
        moved: list[str] = []
        for _, portion in groupby((await self._interpreter.in_turn(apart)).rows, itemgetter(0)):
            try:
                freed, _ = await self._free({**some, "every": False, "ids": [one for _, one in portion]})
            except (LockedError, OvertakenError):
                continue
            moved += freed
        return moved

    async def _free(self, some: Values) -> tuple[list[str], bool]:
        return await self._interpreter.together(partial(_free, some), lock_waits=0)


def _take_over(some: Values) -> Operation[Takeover]:
    """Mark the worker, and free a chunk, in one transaction."""
    if not (yield from ask("declare_dead", **some)).touched:
        return Takeover(refused=True)
    moved, left = yield from _free({**some, "every": True, "ids": []})
    return Takeover(moved=tuple(moved), left=left)


def _free(some: Values) -> Operation[tuple[list[str], bool]]:
    """Free some instances. Also returns whether the dead worker may own more."""
    look = (Ask("still_owned", {"owner": some["dead"]}),) if some["every"] else ()
    freed, *more = yield from ask_last(Ask("free", some), then=look)
    moved = [row[0] for row in freed.rows]
    yield from tell(*moved)
    return moved, bool(more[0].rows) if more else True

"""The bounded counts of every SQL database: `romancy.storage.figures` from the texts of `figures.sql`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.figures import Count, OpenWork, Pace, Slice, Trend, open_work_from, pace_from, trend_from
from romancy.storage.query import Position
from romancy.storage.sqlkit.lookups import place
from romancy.storage.sqlkit.statements import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.sqlkit.statements import Interpreter

__all__ = ["SqlFigures"]


class SqlFigures:
    """As `Figures` promises. `search` carries out what may be slow, where that has connections of its own."""

    def __init__(self, interpreter: Interpreter, search: Interpreter) -> None:
        self._interpreter = interpreter
        self._search = search

    async def tally(self, *, most: int) -> dict[Status, Count]:
        rows = (await self._interpreter.read(partial(ask, "tally", most=most))).rows
        return {Status(status): Count(number, oldest) for status, number, oldest in rows if number}

    async def newest(self, count: int, /, *, since: int, width: int) -> dict[tuple[str, Status, int], int]:
        rows = (await self._search.read(partial(ask, "newest", count=count, since=since, width=width))).rows
        return {(name, Status(status), at // width): number for name, status, at, number in rows}

    async def open_work(self, *, most: int, now: int) -> OpenWork:
        rows = (await self._search.read(partial(ask, "open_work", most=most, due_by=now))).rows
        return open_work_from([(name, status, number, oldest, due) for name, status, number, oldest, due in rows], most)

    async def trend(self, *, since: int, width: int, most: int) -> Trend:
        rows = (await self._interpreter.read(partial(ask, "trend", since=since, width=width, most=most))).rows
        return trend_from([(status, at // width, number) for status, at, number in rows], most)

    async def pace(self, *, since: int, width: int, most: int) -> Pace:
        rows = (await self._search.read(partial(ask, "pace", since=since, width=width, most=most))).rows
        lines = [(kind, name, status, at // width, number, oldest) for kind, name, status, at, number, oldest in rows]
        return pace_from(lines, since, most)

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        look = partial(ask, "tally_slice", **place(after), count=count, behind=count - 1, width=width)
        rows = (await self._search.read(look)).rows
        end = Position(rows[0][4], rows[0][5]) if rows and rows[0][4] is not None else None
        return Slice({(row[0], Status(row[1]), row[2] // width): row[3] for row in rows}, end)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        if not workers:
            return {}
        rows = (await self._interpreter.read(partial(ask, "loads", workers=list(workers), most=most))).rows
        return {row[0]: row[1] for row in rows}

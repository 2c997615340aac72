"""The bounded counts of every SQL database: `romancy.storage.figures` from the texts of `figures.sql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.figures import Count, OpenWork, Slice, Tally, Trend, open_work_from, spans
from romancy.storage.query import Position
from romancy.storage.sqlkit.lookups import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.sqlkit.scripts import Run, RunEach

__all__ = ["SqlFigures"]


class SqlFigures:
    """Bounded counts for displays."""

    def __init__(self, run: Run, run_each: RunEach) -> None:
        self._run = run
        self._run_each = run_each

    async def tally(self, *, most: int, newest: int) -> Tally:
        rows = await self._run("tally", {"most": most, "newest": newest})
        return Tally(
            {Status(status): Count(number, oldest) for name, status, number, oldest in rows if number and not name},
            {(name, Status(status)): Count(number, oldest) for name, status, number, oldest in rows if name},
        )

    async def open_work(self, *, most: int) -> OpenWork:
        return open_work_from(await self._run("open_work", {"most": most}), most)

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        values = {"since": since, "width": width, "most": most, "newest": newest}
        rows = [(name, status, at // width, number) for name, status, at, number in await self._run("trend", values)]
        return spans([row[1:] for row in rows if not row[0]], [row for row in rows if row[0]], most)

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        values = {**place(after), "count": count, "behind": count - 1, "width": width}
        rows = await self._run("tally_slice", values)
        end = Position(rows[0][4], rows[0][5]) if rows and rows[0][4] is not None else None
        return Slice({(row[0], Status(row[1]), row[2] // width): row[3] for row in rows}, end)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        if not workers:
            return {}
        rows = await self._run_each("load", "owner", workers, {"most": most})
        return {worker: row[0] for worker, row in zip(workers, rows, strict=True)}

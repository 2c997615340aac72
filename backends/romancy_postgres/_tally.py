"""The room of figures: counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.status import Status
from romancy.storage.query import Position
from romancy.storage.tally import Count, Slice, Tally, Trend, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_postgres._database import Database

__all__ = ["PostgresFigures"]

_NEWEST: Final = 2**63 - 1


class PostgresFigures:
    """As `Figures` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tally(self, *, most: int, newest: int) -> Tally:
        rows = await self._database.fetch("tally", [status.value for status in Status], most, newest)
        return Tally(
            {Status(status): Count(count, oldest) for name, status, count, oldest in rows if name is None},
            {(name, Status(status)): Count(count, oldest) for name, status, count, oldest in rows if name is not None},
        )

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        rows = await self._database.fetch("trend", [status.value for status in Status], since, width, most, newest)
        by_workflow = [(name, status, span, count) for name, status, span, count in rows if name is not None]
        return spans([(row[1], row[2], row[3]) for row in rows if row[0] is None], by_workflow, most)

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._database.fetch("loads", list(workers), most)}

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        place = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
        rows = await self._database.fetch("tally_slice", *place, count, width, pool=self._database.search)
        end = Position(rows[0][4], rows[0][5]) if rows and rows[0][4] is not None else None
        return Slice({(name, Status(status), span): number for name, status, span, number, _, _ in rows}, end)

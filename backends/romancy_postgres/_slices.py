"""Finds where slices of the order of pages end, and which workflows have not declared a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.query import Position
from romancy_postgres._columns import stored_path

if TYPE_CHECKING:
    from romancy_postgres._database import Database

__all__ = ["PostgresSlices"]

_NEWEST: Final = 2**63 - 1


class PostgresSlices:
    """As `Slices` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        """One statement, in an index alone."""
        place = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
        rows = await self._database.fetch("place_behind", *place, count - 1, pool=self._database.search)
        return Position(rows[0][0], rows[0][1]) if rows else None

    async def undeclared(self, key: str) -> list[str]:
        """One statement; there are few sets."""
        rows = await self._database.fetch("undeclared", stored_path(key))
        return [row[0] for row in rows if row[0]]

"""Lookups with texts that fit PostgreSQL's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.sqlkit.lookups import SqlLookups
from romancy_postgres._columns import stored_path

if TYPE_CHECKING:
    from romancy.storage.sqlkit.scripts import Run
    from romancy_postgres._database import Database

__all__ = ["PostgresLookups"]


class PostgresLookups(SqlLookups):
    """The shared lookups, but for sets of declared paths: here they are arrays, which the server searches."""

    def __init__(self, database: Database, run: Run) -> None:
        super().__init__(run)
        self._database = database

    async def undeclared(self, key: str) -> list[str]:
        rows = await self._database.fetch("undeclared", stored_path(key))
        return [row[0] for row in rows if row[0]]

"""Lookups with texts that fit PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import LogRow
from romancy.storage.sqlkit.lookups import SqlLookups
from romancy_postgres._columns import stored_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow
    from romancy.storage.sqlkit.scripts import Run
    from romancy_postgres._database import Database

__all__ = ["PostgresLookups"]


class PostgresLookups(SqlLookups):
    """The shared lookups. Keys of three columns come as arrays. Sets of declared paths are arrays that it searches."""

    def __init__(self, database: Database, run: Run) -> None:
        super().__init__(run)
        self._database = database

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = [(one.instance_id, one.life, one.last_seq) for one in instances]
        rows = await self._database.fetch("last_commits", *map(list, zip(*keys, strict=True)))
        return {row[0]: LogRow(*row[1:]) for row in rows}

    async def undeclared(self, key: str) -> list[str]:
        rows = await self._database.fetch("undeclared", stored_path(key))
        return [row[0] for row in rows if row[0]]

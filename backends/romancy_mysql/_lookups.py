"""Lookups with a text that fits MySQL and MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import LogRow
from romancy.storage.sqlkit.lookups import SqlLookups
from romancy_mysql._sql import source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow
    from romancy.storage.sqlkit.scripts import Run
    from romancy_mysql._database import Database

__all__ = ["MySQLLookups"]


class MySQLLookups(SqlLookups):
    """The shared lookups. Keys of three columns come as a derived table."""

    def __init__(self, database: Database, run: Run) -> None:
        super().__init__(run)
        self._database = database

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        columns = ("instance_id", "life", "seq")
        keys = source(columns, [(one.instance_id, one.life, one.last_seq) for one in instances])
        (answer,) = await self._database.ask(self._database["last_commits"].statement(keys))
        return {
            bytes(instance_id).decode(): LogRow(seq, bytes(writer).decode(), body, at)
            for instance_id, seq, writer, body, at in answer.rows
        }

"""Lookups with a text that fits SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy.storage.records import LogRow
from romancy.storage.sqlkit.lookups import SqlLookups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow
    from romancy.storage.sqlkit.scripts import Run
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteLookups"]


class SqliteLookups(SqlLookups):
    """The shared lookups. Keys of three columns come as one JSON array."""

    def __init__(self, store: SqliteStore, run: Run) -> None:
        super().__init__(run)
        self._store = store

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = msgspec.json.encode([(one.instance_id, one.life, one.last_seq) for one in instances]).decode()
        rows = await self._store.run_read(lambda tx: tx.rows("last_commits", (keys,)))
        return {row[0]: LogRow(*row[1:]) for row in rows}

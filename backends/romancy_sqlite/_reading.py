"""The room of reading."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from romancy_sqlite._find import count, find

if TYPE_CHECKING:
    from romancy.status import Status
    from romancy.storage.query import Query
    from romancy.storage.records import Census, Page
    from romancy.storage.sqlkit.leases import Leases
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteReading"]


class SqliteReading:
    """As `Reading` promises."""

    def __init__(self, store: SqliteStore, leases: Leases) -> None:
        self._store = store
        self._leases = leases

    async def find(self, query: Query, /) -> Page:
        return await self._store.run_read(partial(find, query=query))

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await self._store.run_read(partial(count, query=query))

    async def census(self) -> Census:
        return await self._leases.census()

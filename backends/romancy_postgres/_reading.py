"""The room of reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_postgres._find import count, find

if TYPE_CHECKING:
    from romancy.status import Status
    from romancy.storage.query import Query
    from romancy.storage.records import Census, Page
    from romancy.storage.sqlkit.leases import Leases
    from romancy_postgres._database import Database

__all__ = ["PostgresReading"]


class PostgresReading:
    """As `Reading` promises."""

    def __init__(self, database: Database, leases: Leases) -> None:
        self._database = database
        self._leases = leases

    async def find(self, query: Query, /) -> Page:
        return await find(self._database, query)

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await count(self._database, query)

    async def census(self) -> Census:
        return await self._leases.census()

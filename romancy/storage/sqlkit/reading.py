"""The room of reading in every SQL database. Searches and counts are each dialect's own: it knows its access paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy.status import Status
    from romancy.storage.query import Query
    from romancy.storage.records import Census, Page
    from romancy.storage.sqlkit.leases import Leases

__all__ = ["SqlReading"]


class SqlReading:
    """As `Reading` promises."""

    def __init__(
        self,
        find: Callable[[Query], Coroutine[Any, Any, Page]],
        count: Callable[[Query], Coroutine[Any, Any, dict[tuple[str, Status], int]]],
        leases: Leases,
    ) -> None:
        self._find = find
        self._count = count
        self._leases = leases

    async def find(self, query: Query, /) -> Page:
        return await self._find(query)

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await self._count(query)

    async def census(self) -> Census:
        return await self._leases.census()

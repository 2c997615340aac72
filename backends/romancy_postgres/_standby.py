"""The service for standbys: what `read_url=` needs to know of the two servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.standby import Standing

if TYPE_CHECKING:
    from romancy_postgres._database import Database

__all__ = ["PostgresStandby"]


class PostgresStandby:
    """As `Standby` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self) -> Standing:
        ((database, copies, position, age),) = await self._database.fetch("standing")
        return Standing(database=database, copies=copies, bytes=position, age=age)

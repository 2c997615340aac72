"""The room of lookups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.lookups import MOST_BYTES, PAGE, Lying, last_of
from romancy.storage.query import Position
from romancy.storage.records import InboxRow, LogRow
from romancy_postgres._columns import stored_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow
    from romancy_postgres._database import Database

__all__ = ["PostgresLookups"]

_NEWEST: Final = 2**63 - 1


class PostgresLookups:
    """As `Lookups` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return {row[0] for row in await self._database.fetch("taken_ids", list(instance_ids))}

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = [(one.instance_id, one.life, one.last_seq) for one in instances]
        rows = await self._database.fetch("last_commits", *map(list, zip(*keys, strict=True)))
        return {row[0]: LogRow(*row[1:]) for row in rows}

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        rows = await self._database.fetch("lying", *after, last_of(instance_id), limit, MOST_BYTES)
        return [Lying(row[0], InboxRow(*row[1:])) for row in rows]

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        """One statement, in an index alone."""
        place = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
        rows = await self._database.fetch("place_behind", *place, count - 1, pool=self._database.search)
        return Position(rows[0][0], rows[0][1]) if rows else None

    async def undeclared(self, key: str) -> list[str]:
        """One statement; there are few sets."""
        rows = await self._database.fetch("undeclared", stored_path(key))
        return [row[0] for row in rows if row[0]]

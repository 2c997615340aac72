"""The room of lookups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.lookups import PAGE, Lying
from romancy.storage.query import Position, path_key
from romancy_mysql._claims import lying
from romancy_mysql._rows import last_commits, taken_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow, LogRow
    from romancy_mysql._database import Database

__all__ = ["MySQLLookups"]

_NEWEST: Final = 2**63 - 1


class MySQLLookups:
    """As `Lookups` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        return await taken_ids(self._database, instance_ids)

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        return await last_commits(self._database, instances)

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        return await lying(self._database, instance_id, after, limit)

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        """One statement, in an index alone."""
        at, instance_id = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
        (answer,) = await self._database.ask(
            self._database.statement("place_behind", at=at, instance_id=instance_id, behind=count - 1)
        )
        return Position(int(answer.rows[0][0]), bytes(answer.rows[0][1]).decode()) if answer.rows else None

    async def undeclared(self, key: str) -> list[str]:
        """One statement; there are few sets."""
        (answer,) = await self._database.ask(self._database.statement("index_sets"))
        lacking = {
            bytes(name).decode()
            for name, _, paths in answer.rows
            if key not in {path_key(path) for path in bytes(paths or b"").decode().split("\n") if path}
        }
        return sorted(filter(None, lacking))

"""Finds where slices of the order of pages end, and which workflows have not declared a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.query import Position, path_key

if TYPE_CHECKING:
    from romancy_mysql._database import Database

__all__ = ["MySQLSlices"]

_NEWEST: Final = 2**63 - 1


class MySQLSlices:
    """As `Slices` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

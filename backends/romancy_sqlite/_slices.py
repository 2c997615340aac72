"""Finds where slices of the order of pages end, and which workflows have not declared a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.query import Position, path_key

if TYPE_CHECKING:
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteSlices"]

_NEWEST: Final = 2**63 - 1


class SqliteSlices:
    """As `Slices` promises."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def place_behind(self, after: Position | None, count: int) -> Position | None:
        """One statement, in an index alone."""
        place = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
        row = await self._store.run_read(lambda tx: tx.row("place_behind", (*place, count - 1)))
        return None if row is None else Position(row[0], row[1])

    async def undeclared(self, key: str) -> list[str]:
        """One statement; there are few sets."""
        return await self._store.run_read(lambda tx: _undeclared(tx, key))


def _undeclared(tx: Tx, key: str) -> list[str]:
    sets = tx.rows("index_sets_by_workflow")
    lacking = {name for name, paths in sets if key not in {path_key(path) for path in paths.split("\n") if path}}
    return sorted(filter(None, lacking))

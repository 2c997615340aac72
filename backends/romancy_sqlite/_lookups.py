"""The room of lookups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from romancy.storage.lookups import MOST_BYTES, PAGE, Lying, last_of
from romancy.storage.query import Position, path_key
from romancy.storage.records import InboxRow, LogRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import InstanceRow
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteLookups"]

_NEWEST: Final = 2**63 - 1


class SqliteLookups:
    """As `Lookups` promises."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def taken_ids(self, instance_ids: Sequence[str], /) -> set[str]:
        ids = msgspec.json.encode(instance_ids).decode()
        return {row[0] for row in await self._store.run_read(lambda tx: tx.rows("taken_ids", (ids,)))}

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        keys = msgspec.json.encode([(one.instance_id, one.life, one.last_seq) for one in instances]).decode()
        rows = await self._store.run_read(lambda tx: tx.rows("last_commits", (keys,)))
        return {row[0]: LogRow(*row[1:]) for row in rows}

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        given = (*after, last_of(instance_id), limit, MOST_BYTES)
        rows = await self._store.run_read(lambda tx: tx.rows("lying", given))
        return [Lying(row[0], InboxRow(*row[1:])) for row in rows]

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

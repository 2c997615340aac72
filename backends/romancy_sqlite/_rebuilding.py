"""Reads and writes what a file holds beside its logs, as `romancy.storage.rebuilding` promises."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.storage.columns import GIVEN, given
from romancy.storage.query import path_key
from romancy.storage.rebuilding import Form, Stored, form_of, renewal
from romancy.storage.records import InstanceRow, LogRow
from romancy.storage.routing import Owner
from romancy.storage.sqlkit.reading import instance_of
from romancy_sqlite._bulk import index_paths
from romancy_sqlite._commit import begin_run
from romancy_sqlite._routes import write_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.rebuilding import Index, Rebuilt
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._reached import Reached

__all__ = ["SqliteRebuilding"]

_COLUMNS = len(InstanceRow.__struct_fields__)
_PAGES_EACH = 6


class SqliteRebuilding:
    """As `Rebuilding` promises."""

    def __init__(self, store: Reached) -> None:
        self._store = store

    async def stored(self, *, after: str, limit: int) -> list[Stored]:
        return await self._store.run_read(partial(_stored, after=after, limit=limit))

    async def log(self, instance_id: str, life: int, /, *, after: int, limit: int) -> list[LogRow]:
        rows = await self._store.run_read(lambda tx: tx.rows("log_page", (instance_id, life, after, limit)))
        return [LogRow(*row) for row in rows]

    def form(self, index: Index, /) -> Form:
        return form_of(index_paths(index), [(path_key(path), value) for path, value in index if value is not None])

    async def rebuild(self, instances: Sequence[Rebuilt], /) -> int:
        return await self._store.run_write(partial(_rebuild, instances=instances), weight=_PAGES_EACH * len(instances))


def _stored(tx: Tx, after: str, limit: int) -> list[Stored]:
    found = tx.rows("lives_with_rows", {"after": after, "limit": limit})
    entries: dict[str, list[tuple[str, str, int]]] = {}
    named = msgspec.json.encode([row[-2] for row in found]).decode()
    for instance_id, path, value, at in tx.rows("index_of", (named,)):
        entries.setdefault(instance_id, []).append((path, value, at))
    return [_one(row, entries.get(row[-2], [])) for row in found]


def _one(line: tuple[Any, ...], entries: list[tuple[str, str, int]]) -> Stored:
    projection, paths, recorded, instance_id, life = line[_COLUMNS:]
    if line[0] is None:
        return Stored(instance_id=instance_id, life=life, row=None)
    row = instance_of(line[:_COLUMNS])
    return Stored(
        instance_id=instance_id,
        life=row.life,
        row=row,
        projection=None if projection is None else projection.encode(),
        paths=paths,
        entries=tuple(entries),
        recorded=bool(recorded),
        declared=tuple((key, key) for key in paths.split("\n") if key),
    )


def _rebuild(tx: Tx, instances: Sequence[Rebuilt]) -> int:
    written = 0
    for one in instances:
        row = one.row
        there = _restore(tx, one) if one.lost else tx.row("same_run", (row.instance_id, row.life, row.run_from))
        if not there:
            continue
        item = renewal(one)
        assert item.change is not None  # noqa: S101 - a renewal has one
        begin_run(tx, row.instance_id, item.change)
        write_routes(tx, item, Owner(row.instance_id, row.life))
        written += 1
        if one.lost:
            tx.touched.add(row.instance_id)
    return written


def _restore(tx: Tx, one: Rebuilt) -> int:
    row = one.row
    return tx.run(
        "restore_instance",
        {
            "instance_id": row.instance_id,
            "life": row.life,
            "status": row.status.value,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "wake_at": None if one.ended else tx.now,
            "error": row.error,
            "parent": row.parent,
            "run_from": row.run_from,
            "last_seq": row.last_seq,
            "ended": one.ended,
            "input": row.input,
            **dict(zip(GIVEN, given(row), strict=True)),
        },
    )

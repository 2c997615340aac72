"""Reads and writes what a database holds beside its logs, as `romancy.storage.rebuilding` promises."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from romancy.storage.columns import GIVEN, given
from romancy.storage.rebuilding import Form, Stored, form_of, renewal
from romancy.storage.records import LogRow
from romancy_postgres._columns import columns, error_bytes, index_paths, index_rows, renewal_columns
from romancy_postgres._read import instance_row
from romancy_postgres._routes import write_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from romancy.storage.rebuilding import Index, Rebuilt
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["PostgresRebuilding"]

_HASHED = 64


class PostgresRebuilding:
    """As `Rebuilding` promises."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def stored(self, *, after: str, limit: int) -> list[Stored]:
        """One statement, so that the rows and the index are of one snapshot."""
        return [_stored(row) for row in await self._database.fetch("lives_with_rows", after, limit)]

    async def log(self, instance_id: str, life: int, /, *, after: int, limit: int) -> list[LogRow]:
        return [LogRow(*row) for row in await self._database.fetch("log_of_life", instance_id, life, after, limit)]

    def form(self, index: Index, /) -> Form:
        _, paths, values = index_rows([("", index)])
        return form_of(index_paths(index), zip(map(str, paths), map(str, values), strict=True))

    async def rebuild(self, instances: Sequence[Rebuilt], /) -> int:
        ordered = sorted(instances, key=lambda one: one.row.instance_id)
        written = await self._database.transaction(partial(_rebuild, ordered))
        self._signals.tell(one.row.instance_id for one in ordered if one.lost and one.row.instance_id in written)
        return len(written)


def _stored(line: asyncpg.Record) -> Stored:
    if line["instance_id"] is None:
        return Stored(instance_id=line["id"], life=line["lost_life"], row=None)
    members: list[str] | None = line["members"]
    hashed = members is None or any(len(path) >= _HASHED for path in members)
    index = (line["paths"] or (), line["values"] or (), line["times"] or ())
    return Stored(
        instance_id=line["id"],
        life=line["life"],
        row=instance_row(line),
        projection=None if line["projection"] is None else line["projection"].encode(),
        paths=line["index_paths"],
        entries=tuple(zip(*index, strict=True)),
        recorded=members is not None,
        declared=None if hashed else tuple((path, path) for path in members or () if path),
    )


async def _rebuild(instances: Sequence[Rebuilt], link: Link) -> set[str]:
    rows = [one.row for one in instances if not one.lost]
    places = ([row.instance_id for row in rows], [row.life for row in rows], [row.run_from for row in rows])
    written = {str(line[0]) for line in await link.fetch("hold_runs", *places)}
    if lost := [one for one in instances if one.lost]:
        written |= {str(line[0]) for line in await link.fetch("restore_instances", *_lost_columns(lost))}
    kept = [one for one in instances if one.row.instance_id in written]
    if kept:
        items = list(map(renewal, kept))
        await link.run("renew_runs", *renewal_columns(items))
        await link.run("index_renewed", *index_rows((one.row.instance_id, one.index) for one in kept))
        await write_routes(link, items)
    return written


def _lost_columns(lost: Sequence[Rebuilt]) -> list[list[object]]:
    rows = [one.row for one in lost]
    return [
        [row.instance_id for row in rows],
        [row.life for row in rows],
        [row.status.value for row in rows],
        [row.created_at for row in rows],
        [row.updated_at for row in rows],
        [error_bytes(row.error) for row in rows],
        [row.parent for row in rows],
        [row.run_from for row in rows],
        [row.last_seq for row in rows],
        [row.input for row in rows],
        [one.ended for one in lost],
        *columns(list(map(given, rows)), width=len(GIVEN)),
    ]

"""Finds instances: a `Query` becomes one SELECT, or one for each access path, merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.records import Page
from romancy.storage.sqlkit.searches import stretches
from romancy_mysql._look_up import look_up
from romancy_mysql._rows import instance_row
from romancy_mysql._selects import merged
from romancy_mysql._ways import by_end, in_index_alone, known, ways_to

if TYPE_CHECKING:
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow
    from romancy_mysql._database import Database
    from romancy_mysql._ways import Way

__all__ = ["find"]


async def find(database: Database, query: Query) -> Page:
    """A page, newest first."""
    names, sets = await known(database, query)
    if names is not None and not names:
        return Page(rows=[])
    rows: list[InstanceRow] = []
    for stretch in stretches(query):
        if len(rows) <= query.limit:
            part = replace(stretch.query, limit=query.limit - len(rows))
            if await _are_many(database, part, stretch.few):
                rows += await _merged(database, part, [by_end(part, names)])
            else:
                rows += await _found(database, part, ways_to(part, names, sets))
    return _page(query, rows)


async def _found(database: Database, query: Query, ways: list[Way]) -> list[InstanceRow]:
    if all(in_index_alone(query, way) for way in ways):
        return await _merged(database, query, ways)
    return await look_up(database, query, ways)


async def _merged(database: Database, query: Query, ways: list[Way]) -> list[InstanceRow]:
    (answer,) = await database.ask(merged(database, query, ways))
    return [instance_row(line) for line in answer.rows]


async def _are_many(database: Database, query: Query, few: int | None) -> bool:
    """Whether more than `few` instances were started before the position of the query."""
    if few is None or query.after is None:
        return False
    at, instance_id = query.after.created_at, query.after.instance_id
    (answer,) = await database.ask(database.statement("place_behind", at=at, instance_id=instance_id, behind=few))
    return bool(answer.rows)


def _page(query: Query, rows: list[InstanceRow]) -> Page:
    page = sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode()), reverse=True)
    more = len(page) > query.limit
    page = page[: query.limit]
    return Page(rows=page, next_token=query.token_after(page[-1].created_at, page[-1].instance_id) if more else None)

"""Finds instances: a `Query` becomes one SELECT, or one for each access path, merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import Page
from romancy_mysql._look_up import look_up
from romancy_mysql._rows import instance_row
from romancy_mysql._selects import merged
from romancy_mysql._ways import in_index_alone, known, ways_to

if TYPE_CHECKING:
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow
    from romancy_mysql._database import Database

__all__ = ["find"]


async def find(database: Database, query: Query) -> Page:
    """A page, newest first."""
    names, sets = await known(database, query)
    if names is not None and not names:
        return Page(rows=[])
    ways = ways_to(query, names, sets)
    if all(in_index_alone(query, way) for way in ways):
        (answer,) = await database.ask(merged(database, query, ways))
        rows = [instance_row(line) for line in answer.rows]
    else:
        rows = await look_up(database, query, ways)
    return _page(query, rows)


def _page(query: Query, rows: list[InstanceRow]) -> Page:
    page = sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode()), reverse=True)
    more = len(page) > query.limit
    page = page[: query.limit]
    return Page(rows=page, next_token=query.token_after(page[-1].created_at, page[-1].instance_id) if more else None)

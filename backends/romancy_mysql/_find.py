"""Finds and counts instances: a `Query` becomes one SELECT, or one for each access path, merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.records import Page
from romancy.storage.sqlkit.lookups import place_of
from romancy.storage.sqlkit.searches import ended, stretches
from romancy_mysql._look_up import look_up
from romancy_mysql._rows import instance_row
from romancy_mysql._selects import counted, merged
from romancy_mysql._ways import by_end, in_index_alone, known, ways_to, ways_to_count

if TYPE_CHECKING:
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow
    from romancy.storage.sqlkit.searches import Stretch
    from romancy_mysql._database import Database
    from romancy_mysql._ways import Way

__all__ = ["count", "find"]


async def find(database: Database, query: Query) -> Page:
    """A page, in the order of the query."""
    if query.ids == ():
        return Page(rows=[])
    names, sets = await known(database, query)
    if names is not None and not names:
        return Page(rows=[])
    rows: list[InstanceRow] = []
    for stretch in stretches(query):
        if len(rows) <= query.limit:
            part = replace(stretch.query, limit=query.limit - len(rows))
            if await _are_many(database, stretch):
                rows += await _merged(database, part, [by_end(part, names)])
            else:
                rows += await _found(database, part, ways_to(part, names, sets))
    return _page(query, rows)


async def count(database: Database, query: Query) -> dict[tuple[str, Status], int]:
    """How many instances match, by workflow and status."""
    restricted = ended(query)
    if restricted is None or restricted.ids == ():
        return {}
    names, sets = await known(database, restricted)
    if names is not None and not names:
        return {}
    (answer,) = await database.ask(counted(database, restricted, ways_to_count(restricted, names, sets)))
    return {(bytes(name).decode(), Status(bytes(status).decode())): int(number) for name, status, number in answer.rows}


async def _found(database: Database, query: Query, ways: list[Way]) -> list[InstanceRow]:
    if query.ids is not None or all(in_index_alone(query, way) for way in ways):
        return await _merged(database, query, ways)
    return await look_up(database, query, ways)


async def _merged(database: Database, query: Query, ways: list[Way]) -> list[InstanceRow]:
    (answer,) = await database.ask(merged(database, query, ways))
    return [instance_row(line) for line in answer.rows]


async def _are_many(database: Database, stretch: Stretch) -> bool:
    """Whether more than `few` instances were started before the border of this part."""
    place = place_of(stretch)
    return place is not None and bool((await database.ask(database.statement("place_behind", **place)))[0].rows)


def _page(query: Query, rows: list[InstanceRow]) -> Page:
    page = sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode()), reverse=not query.oldest_first)
    more = len(page) > query.limit
    page = page[: query.limit]
    return Page(rows=page, next_token=query.token_after(page[-1].created_at, page[-1].instance_id) if more else None)

"""Searches that must read many rows: the first of the pages in the order of an index, the rest in that of the table.

An index gives the rows in the order of pages, so that a page which is soon full costs little. But each row lies on
another page of the table, and a server with less memory than the table reads one from the disk for each row. In the
order of the table it reads each page once. That needs all rows, so it pays only where the newest (or the oldest, if
these come first) have not filled the page and many others are left.

Instances started on one side of some time are read in one snapshot, and those on the other side in another. The time of
the start never changes, so no instance comes twice or is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.storage.query import Position
from romancy.storage.sqlkit.statements import Ask, ask, ask_all
from romancy_mysql._selects import place, scan, select
from romancy_mysql._sql import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.query import Query
    from romancy.storage.sqlkit.statements import Operation
    from romancy_mysql._access_paths import AccessPath
    from romancy_mysql._database import Database

__all__ = ["FAR", "NEAR", "SMALL", "about_how_many", "look_up"]

SMALL: Final = 50_000
"""A table of fewer rows is never scanned: even if it is not in the server's memory, its rows come within seconds."""
NEAR: Final = (512, 32)
"""Each index first reads one in 512 of all rows; then one in 32, if these rows show that the page will be full."""
FAR: Final = 16
"""If no index leads to one in 16 of all rows, all indexes are followed to their ends.

A scan reads a row in a fifteenth of the time that a look-up takes from the disk, and in a seventh of that from memory.
"""


def look_up(database: Database, query: Query, ways: list[AccessPath]) -> Operation[list[Sequence[Any]]]:
    """The first rows of the page, and at least one more if there are more, in any order."""
    if all(way.looked_up for way in ways) or (size := (yield from about_how_many(database))) < SMALL:
        return (yield from _rows([select(database, query, way) for way in ways]))
    rows: list[Sequence[Any]] = []
    rest = query
    for share in NEAR:
        borders = yield from _places(database, rest, ways, size // share)
        near, behind = _divided(rest, borders) if borders else (rest, rest)
        rows += yield from _rows([select(database, near, way) for way in ways])
        if not borders or len(rows) > query.limit:
            return rows
        rest = replace(behind, limit=query.limit - len(rows))
        if len(rows) * (NEAR[0] // NEAR[-1]) <= query.limit:
            break
    if not (yield from _places(database, rest, ways, size // FAR)):
        return rows + (yield from _rows([select(database, rest, way) for way in ways]))
    looked_up = [select(database, rest, way) for way in ways if way.looked_up]
    scanned = scan(database, rest, [way for way in ways if not way.looked_up])
    return rows + (yield from _rows([*looked_up, scanned]))


def _divided(query: Query, borders: list[int]) -> tuple[Query, Query]:
    """The first instances of the pages, up to the nearest of these start times, and those behind them."""
    if query.oldest_first:
        border = min(borders) + 1
        return replace(query, until=border), replace(query, after=Position(border, ""))
    border = max(borders)
    return replace(query, since=border), replace(query, after=Position(border, ""))


def about_how_many(database: Database) -> Operation[int]:
    """About how many instances there are."""
    settings = database.settings
    table = {"database": Text(settings.database), "table": Text(f"{settings.prefix}instances")}
    return (yield from ask("about_how_many", **table)).rows[0][0] or 0


def _places(database: Database, query: Query, ways: Iterable[AccessPath], behind: int) -> Operation[list[int]]:
    """The start times of the instances that many places behind the first, for the access paths that have as many."""
    asked = [place(database, query, way, behind) for way in ways if not way.looked_up]
    return [answer.rows[0][0] for answer in (yield from ask_all(*asked)) if answer.rows]


def _rows(selects: list[Ask]) -> Operation[list[Sequence[Any]]]:
    """The rows of all these statements, each once, from one snapshot."""
    if len(selects) == 1:
        answers = yield from ask_all(*selects)
    else:
        begin, end = (Ask("one_moment", {}), Ask("begin_moment", {})), Ask("end_moment", {})
        _, _, *answers, _ = yield from ask_all(*begin, *selects, end)
    return list({row[0]: row for answer in answers for row in answer.rows}.values())

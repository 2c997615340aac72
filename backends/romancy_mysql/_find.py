"""Finds and counts instances: a `Query` becomes one SELECT, or one for each access path, merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.storage.sqlkit.statements import ask_all
from romancy_mysql._access_paths import access_paths_to, access_paths_to_count, in_index_alone, known
from romancy_mysql._access_paths import by_end as access_by_end
from romancy_mysql._look_up import look_up
from romancy_mysql._selects import counted, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.query import Query
    from romancy.storage.sqlkit.statements import Operation
    from romancy_mysql._access_paths import Known
    from romancy_mysql._database import Database

__all__ = ["MySQLSearches"]

_AT, _ID = 5, 0
"""The columns of the order of pages."""


class MySQLSearches:
    """As `Searches` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, query: Query, /) -> Operation[Known | None]:
        return known(query)

    def page(self, query: Query, known: Known, /, *, by_end: bool) -> Operation[Sequence[Sequence[Any]]]:
        ways = [access_by_end(query, known.names)] if by_end else access_paths_to(query, known)
        if by_end or query.ids is not None or all(in_index_alone(query, way) for way in ways):
            (answer,) = yield from ask_all(merged(self._database, query, ways))
            rows = answer.rows
        else:
            rows = yield from look_up(self._database, query, ways)
        page = sorted(rows, key=lambda row: (row[_AT], row[_ID].encode()), reverse=not query.oldest_first)
        return page[: query.limit + 1]

    def count(self, query: Query, known: Known, /) -> Operation[Sequence[Sequence[Any]]]:
        (answer,) = yield from ask_all(counted(self._database, query, access_paths_to_count(query, known)))
        return answer.rows

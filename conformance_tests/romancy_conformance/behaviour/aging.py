"""Makes all rows of a database older, and tells how many rows each table has and how many bytes all of them take.

Which columns are times is read from the rows: a whole number near the present, in microseconds. So a new column is not
forgotten. An app keeps the database open meanwhile at its own risk: close it first.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.storage.url import parse_url
from romancy_conformance.contract.scripts import fetch_rows, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Tables"]

_NEAR: Final = 4 * 366 * 86_400_000_000
"""What is further from the present than this is no time, or one that says "never"."""
_NO_TIMES: Final = frozenset({"life"})
"""Random numbers, which may look like times."""
_NOTES: Final = "b/"
"""What lanes note has a time as its address (`romancy/storage/sqlkit/lanes.py`)."""


class _Dialect(NamedTuple):
    columns: str
    """All columns, beside the names of their tables, and whether one is a whole number that can be set."""
    tidy: str
    """What the server does by itself some time later."""
    size: str


_INFORMATION: Final = (
    "select c.table_name, c.column_name, {whole} from information_schema.columns c "
    "join information_schema.tables t on t.table_schema = c.table_schema and t.table_name = c.table_name "
    "where c.table_schema = {schema} and t.table_type = 'BASE TABLE' and c.table_name like 'romancy%'"
)
_MYSQL: Final = _Dialect(
    _INFORMATION.format(
        schema="database()", whole="c.data_type = 'bigint' and coalesce(c.generation_expression, '') = ''"
    ),
    "analyze table {table}",
    "select cast(sum(data_length + index_length) as signed) from information_schema.tables "
    "where table_schema = database() and table_name like 'romancy%'",
)
_DIALECTS: Final = {
    "sqlite": _Dialect(
        "select m.name, p.name, lower(p.type) = 'integer' from sqlite_master m join pragma_table_info(m.name) p "
        "where m.type = 'table' and m.name like 'romancy%'",
        "",
        "select c.page_count * s.page_size from pragma_page_count c, pragma_page_size s",
    ),
    "postgresql": _Dialect(
        _INFORMATION.format(schema="current_schema()", whole="c.data_type = 'bigint'"),
        "vacuum analyze {table}",
        "select sum(pg_total_relation_size(oid))::bigint from pg_class "
        "where relkind = 'r' and relname like 'romancy%' and relnamespace = current_schema()::regnamespace",
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}


class Tables:
    """The tables of a database, as they were when it was migrated."""

    def __init__(self, url: str, dialect: _Dialect, columns: Mapping[str, Sequence[str]]) -> None:
        self._url = url
        self._dialect = dialect
        self._columns = columns

    @classmethod
    async def of(cls, url: str) -> Tables:
        """Those of the database at this URL."""
        dialect = _DIALECTS[{"postgres": "postgresql"}.get(scheme := parse_url(url).scheme, scheme)]
        columns: defaultdict[str, list[str]] = defaultdict(list)
        for table, column, whole in await fetch_rows(url, dialect.columns):
            columns[str(table)] += [str(column)] if whole else []
        assert "at" in columns["romancy_log"]
        return cls(url, dialect, columns)

    async def age(self, by: int) -> None:
        """Put all times that stand in rows back by so many microseconds. What is in bodies and ids stays."""
        await run_script(self._url, ";\n".join([*self._older(by), *await self._older_notes(by)]))

    def _older(self, by: int) -> Iterator[str]:
        now = time.time_ns() // 1000
        low, high = now - _NEAR, now + _NEAR
        for table, columns in self._columns.items():
            times = [one for one in columns if one not in _NO_TIMES]
            changes = [
                f"{one} = case when {one} between {low} and {high} then {one} - {by} "
                f"when {one} between {-high} and {-low} then {one} + {by} else {one} end"
                for one in times
            ]
            if changes:
                yield f"update {table} set {', '.join(changes)}"  # noqa: S608 - names of the schema

    async def _older_notes(self, by: int) -> list[str]:
        found = await fetch_rows(self._url, "select distinct address from romancy_interests where address like 'b/%'")
        addresses = [one.decode() if isinstance(one, bytes) else str(one) for (one,) in found]
        return [
            f"update romancy_interests set address = '{_NOTES}{int(one.removeprefix(_NOTES)) - by:020}' "  # noqa: S608
            f"where address = '{one}'"
            for one in sorted(addresses)
        ]

    async def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        each = [f"select '{one}', count(*) from {one}" for one in self._columns]  # noqa: S608 - names of the schema
        return {str(table): int(count) for table, count in await fetch_rows(self._url, " union all ".join(each))}

    async def size(self) -> int:
        """How many bytes all tables and their indexes take, once the server has tidied up."""
        if self._dialect.tidy:
            await run_script(self._url, ";\n".join(self._dialect.tidy.format(table=one) for one in self._columns))
        ((size,),) = await fetch_rows(self._url, self._dialect.size)
        return int(size)

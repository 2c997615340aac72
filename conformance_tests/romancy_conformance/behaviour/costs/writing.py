"""What is written into a database: rows by table, and entries by index, each exactly.

PostgreSQL tells it itself. Its write-ahead log has one record for each row and for each index entry, and
`pg_walinspect` reads them. Nothing else is as exact: whether an update writes into indexes depends on the page of the
row (a heap-only tuple), and the statistics of sessions arrive late. Other databases of the server are in the same log
and are left out.

MySQL, MariaDB and SQLite tell rows at most by session, and index entries never. Triggers count there, one row for each
write, in the transaction that writes:

- InnoDB writes into an index where a column of it changes, and takes the old entry out. A row that an update leaves as
  it was is not written. The triggers compare the old row with the new one.
- SQLite writes into an index where an update names a column of it, or of its condition, whatever the value. That is
  when a trigger `after update of` those columns fires. `tests/conformance/test_writing.py` compares the counts with the
  programs that SQLite explains.

An entry that is taken out counts as one that is put in: a page is written for it. PostgreSQL takes none out until much
later. A primary key of MySQL, and of SQLite's tables without a rowid, is the table itself, and no index.
What is rolled back counts on PostgreSQL only. The rows of workers are left out, which the clock writes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest

from romancy_conformance.contract.scripts import fetch_rows, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

__all__ = ["Place", "Writes", "writes_of"]

_BY_THE_CLOCK = ("romancy_workers", "romancy_schema", "romancy_counted")


class Place(NamedTuple):
    """What is written into: a table or, if it is named, an index of it."""

    table: str
    index_name: str = ""


class Writes(ABC):
    """Counts the writes of everybody into one database. Nothing may have it open when counting begins."""

    def __init__(self, url: str) -> None:
        self._url = url

    @abstractmethod
    async def begin(self) -> None:
        """Begin to count."""

    @abstractmethod
    async def counted(self) -> Counter[Place]:
        """Return what was written since the last call. No transaction may be under way."""


def writes_of(url: str) -> Writes:
    """Return the counter for the database at `url`; skip the test if there is none."""
    kinds: dict[str, type[Writes]] = {
        "sqlite": _Sqlite, "postgresql": _Postgres, "postgres": _Postgres, "mysql": _Mysql, "mariadb": _Mysql
    }  # fmt: skip
    scheme = urlsplit(url).scheme
    if scheme not in kinds:
        pytest.skip(f"capability: nothing counts what is written into {scheme}://")
    return kinds[scheme](url)


@contextmanager
def _skipped_if(refuses: Callable[[Exception], object]) -> Generator[None]:
    """Skip the test if the database refuses this account what counting needs."""
    try:
        yield
    except Exception as error:
        if not refuses(error):
            raise
        pytest.skip(f"capability: this account cannot count what is written ({error})")


# --- PostgreSQL ---------------------------------------------------------------------------------------------------

_EMPTIED = """
    create extension if not exists pg_walinspect with schema pg_catalog;
    do $$
        declare one text;
        begin
            for one in select quote_ident(tablename) from pg_tables
                where schemaname = current_schema() and tablename <> 'romancy_schema'
            loop
                execute 'truncate ' || one;
            end loop;
        end
    $$
"""
"""Rows that an earlier test has left dead would decide what fits into a page."""
_FLUSHED = "select pg_logical_emit_message(true, 'romancy', '')"
"""Commits, and with it everything before it is in the log's file."""
_END_OF_LOG = "select pg_current_wal_flush_lsn()::text"
_LOGGED = """
    select of_table.relname, case when place.relkind = 'i' then place.relname else '' end, record.record_type, count(*)
    from pg_get_wal_records_info('{begin}', '{end}') record
    cross join lateral regexp_match(record.block_ref, 'rel \\d+/(\\d+)/(\\d+) fork main') as file (parts)
    join pg_database on pg_database.oid = file.parts[1]::oid and pg_database.datname = current_database()
    join pg_class place on pg_relation_filenode(place.oid) = file.parts[2]::oid
    left join pg_index on pg_index.indexrelid = place.oid
    join pg_class of_table on of_table.oid = coalesce(pg_index.indrelid, place.oid)
    where record.resource_manager in ('Heap', 'Heap2', 'Btree') and of_table.relnamespace = 'public'::regnamespace
    group by 1, 2, 3
"""
_A_WRITE = re.compile(r"(INSERT|UPDATE|HOT_UPDATE|DELETE)(\+INIT)?|INSERT_LEAF|INSERT_POST|SPLIT_[LR]")
"""One row or one entry. The half of a page that a split leaves, and an entry that shares a place, are entries too."""


_NO_INSPECTION = {"42501", "0A000"}
"""The account may not, or the server, before 15, has nothing that reads its log."""


class _Postgres(Writes):
    _end = ""

    async def begin(self) -> None:
        with _skipped_if(lambda error: getattr(error, "sqlstate", None) in _NO_INSPECTION):
            await run_script(self._url, _EMPTIED)
        self._end = await self._flushed()

    async def counted(self) -> Counter[Place]:
        begin, self._end = self._end, await self._flushed()
        logged = await fetch_rows(self._url, _LOGGED.format(begin=begin, end=self._end))
        found = Counter[Place]()
        for table, index, kind, number in logged:
            assert kind != "MULTI_INSERT", "a record of several rows has to be counted by its rows"
            if table not in _BY_THE_CLOCK and _A_WRITE.fullmatch(kind):
                found[Place(table, index)] += number
        return found

    async def _flushed(self) -> str:
        await run_script(self._url, _FLUSHED)
        return str((await fetch_rows(self._url, _END_OF_LOG))[0][0])


# --- what triggers count ------------------------------------------------------------------------------------------


_NO_TRIGGERS = {1142, 1227, 1419}
"""MySQL and MariaDB: the account may make no trigger."""
_COUNTED = "select of_table, of_index, sum(writes) from romancy_counted group by of_table, of_index"


class _Triggers(Writes):
    """Triggers add rows to a table without a key, which nobody updates: they make no transaction wait for another."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._before = Counter[Place]()

    async def begin(self) -> None:
        script = await self._script()
        with _skipped_if(lambda error: error.args[:1] and error.args[0] in _NO_TRIGGERS):
            await run_script(self._url, ";\n".join(script) + ";")

    @abstractmethod
    async def _script(self) -> list[str]: ...

    async def counted(self) -> Counter[Place]:
        rows = await fetch_rows(self._url, _COUNTED)
        sums = Counter({Place(table, index): int(writes) for table, index, writes in rows})
        found, self._before = sums - self._before, sums
        return found


def _trigger(name: str, when: str, table: str, counts: Iterable[tuple[str, str]], *, whole: str = "{}") -> str:
    """Return a trigger that adds a count for each index, or for the table itself by the name of none."""
    lines = " union all ".join(f"select '{table}', '{index}', {writes}" for index, writes in counts)
    insert = f"insert into romancy_counted (of_table, of_index, writes) {lines}"
    return f"create trigger romancy_counts_{name} after {when} on {table} for each row {whole.format(insert)}"


# --- SQLite -------------------------------------------------------------------------------------------------------

_SQLITE_COLUMNS = """
    select t.name, group_concat(c.name) from sqlite_master t join pragma_table_info(t.name) c
    where t.type = 'table' and t.name like 'romancy%'
    group by t.name
    order by t.name
"""
_SQLITE_INDEXES = """
    select i.name, s.sql, group_concat(c.name)
    from pragma_index_list('{table}') i
    join pragma_index_xinfo(i.name) c
    join sqlite_master s on s.name = i.name
    join sqlite_master t on t.name = '{table}'
    where not (i.origin = 'pk' and t.sql like '%without rowid%')
    group by i.name, s.sql
    order by i.name
"""
_BLOCK = "begin {}; end"
_CONDITION = re.compile(r"\)\s*where\s+(.*)", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"('[^']*')")


class _Sqlite(_Triggers):
    async def _script(self) -> list[str]:
        script = ["create table romancy_counted (of_table, of_index, writes)"]
        for table, columns in await fetch_rows(self._url, _SQLITE_COLUMNS):
            if table not in _BY_THE_CLOCK:
                script += await self._of(table, columns.split(","))
        return script

    async def _of(self, table: str, columns: Sequence[str]) -> list[str]:
        put, taken = [("", "1")], [("", "1")]
        updates: list[str] = []
        for name, sql, of_columns in await fetch_rows(self._url, _SQLITE_INDEXES.format(table=table)):
            condition = found[1] if sql and (found := _CONDITION.search(sql)) else "true"
            new, old = (_of_row(condition, columns, row) for row in ("new", "old"))
            put.append((name, new))
            taken.append((name, old))
            named = [*of_columns.split(","), *(each for each in columns if re.search(rf"\b{each}\b", condition))]
            when = f"update of {', '.join(dict.fromkeys(named))}"
            updates.append(_trigger(f"update_{name}", when, table, [(name, f"({new}) + ({old})")], whole=_BLOCK))
        return [
            _trigger(f"insert_{table}", "insert", table, put, whole=_BLOCK),
            _trigger(f"delete_{table}", "delete", table, taken, whole=_BLOCK),
            _trigger(f"update_{table}", "update", table, [("", "1")], whole=_BLOCK),
            *updates,
        ]


def _of_row(condition: str, columns: Sequence[str], row: str) -> str:
    """Return the condition of an index for the new or the old row."""
    names = re.compile(rf"\b({'|'.join(columns)})\b")
    parts = _QUOTED.split(condition)
    return "".join(part if number % 2 else names.sub(rf"{row}.\1", part) for number, part in enumerate(parts))


# --- MySQL and MariaDB --------------------------------------------------------------------------------------------

_MYSQL_COLUMNS = """
    select table_name, '', column_name from information_schema.columns
    where table_schema = database() and table_name in (
        select table_name from information_schema.tables where table_schema = database() and table_type = 'BASE TABLE'
    )
    union all
    select table_name, index_name, column_name from information_schema.statistics
    where table_schema = database()
"""


_MYSQL_COUNTED = "create table romancy_counted (of_table varchar(64), of_index varchar(64), writes bigint)"


class _Mysql(_Triggers):
    async def _script(self) -> list[str]:
        places: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for table, index, column in await fetch_rows(self._url, _MYSQL_COLUMNS):
            if table not in _BY_THE_CLOCK:
                places[table][index].append(column)
        script = [_MYSQL_COUNTED]
        for table, columns in sorted(places.items()):
            key = columns.pop("PRIMARY", [])
            once = [(index, "1") for index in columns]
            changed = [(index, _differing([*names, *key], 2 if index else 1)) for index, names in columns.items()]
            script += [
                _trigger(f"insert_{table}", "insert", table, once),
                _trigger(f"delete_{table}", "delete", table, once),
                _trigger(f"update_{table}", "update", table, changed),
            ]
        return script


def _differing(columns: Sequence[str], writes: int) -> str:
    """So many writes if one of the columns changes, else 0."""
    return f"{writes} * ({' or '.join(f'not (new.{name} <=> old.{name})' for name in columns)})"

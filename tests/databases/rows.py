"""The rows of a database as lines of JSON, and back: as a driver returns them, without the library under test."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

import asyncpg
import pymysql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Change = Callable[[bytes], bytes]

TABLES = (
    "workers", "instances", "log", "inbox", "outbox", "seen", "index", "index_sets", "uncounted",
    "messages", "interests", "addresses", "letters",
)  # fmt: skip
NOBODY = {"boot_id": "another machine", "pid_namespace": "", "pid": 1, "pid_start": 1}
"""Replaces the names of the machine and the processes that wrote the database."""

_COLUMNS = """
select column_name from information_schema.columns
where table_name = '{table}' and {ours} and coalesce(generation_expression, '') = ''
order by ordinal_position
"""
"""The columns that a statement may write, without generated ones."""


class Plain(Protocol):
    """A database for reading and writing whole rows."""

    def columns(self, table: str) -> list[str]:
        """Return the columns that may be written; none if there is no such table."""
        ...

    def select(self, statement: str) -> list[tuple[Any, ...]]: ...

    def replace(self, table: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Let the table have these rows, and none of those that the migrations have put there."""
        ...


class Sqlite:
    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")

    def columns(self, table: str) -> list[str]:
        return [str(name) for _, name, *_ in self.select(f"pragma table_info({table})")]

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._path)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def replace(self, table: str, columns: list[str], rows: list[list[Any]]) -> None:
        connection = sqlite3.connect(self._path)
        try:
            connection.execute(_emptying(table))
            connection.executemany(_insertion(table, columns, ["?"] * len(columns)), rows)
            connection.commit()
        finally:
            connection.close()


class Postgres:
    def __init__(self, url: str) -> None:
        self._url = url

    def columns(self, table: str) -> list[str]:
        return [str(name) for (name,) in self.select(_COLUMNS.format(table=table, ours="table_schema = 'public'"))]

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        return asyncio.run(self._select(statement))

    def replace(self, table: str, columns: list[str], rows: list[list[Any]]) -> None:
        asyncio.run(self._replace(table, columns, rows))

    async def _select(self, statement: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def _replace(self, table: str, columns: list[str], rows: list[list[Any]]) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            marks = [f"${number}" for number in range(1, len(columns) + 1)]
            await connection.execute(_emptying(table))
            await connection.executemany(_insertion(table, columns, marks), rows)
        finally:
            await connection.close()


class Mysql:
    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)

    def columns(self, table: str) -> list[str]:
        return [str(name) for (name,) in self.select(_COLUMNS.format(table=table, ours="table_schema = database()"))]

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        connection = self._connected()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def replace(self, table: str, columns: list[str], rows: list[list[Any]]) -> None:
        connection = self._connected()
        try:
            with connection.cursor() as cursor:
                cursor.execute(_emptying(table))
                cursor.executemany(_insertion(table, columns, ["%s"] * len(columns)), rows)
            connection.commit()
        finally:
            connection.close()

    def _connected(self) -> pymysql.Connection[Any]:
        place = self._place
        return pymysql.connect(
            host=place.hostname or "127.0.0.1",
            port=place.port or 3306,
            user=unquote(place.username or ""),
            password=unquote(place.password or ""),
            database=place.path[1:],
            charset="utf8mb4",
        )


def plain(url: str) -> Plain:
    """Return the database at a URL."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return Sqlite(url)
    return Postgres(url) if scheme == "postgresql" else Mysql(url)


def dumped(url: str, change: Change) -> Iterable[str]:
    """Yield a line for each row: the table and its columns by name. `change` is applied to all bytes."""
    database = plain(url)
    for table in (f"romancy_{name}" for name in TABLES):
        columns = database.columns(table)
        if not columns:
            continue
        for row in sorted(database.select(f"select {', '.join(columns)} from {table}"), key=repr):  # noqa: S608 - ours
            named = dict(zip(columns, row, strict=True))
            if table == "romancy_workers":
                named |= {name: _like(named[name], value) for name, value in NOBODY.items()}
            yield json.dumps([table, {name: _told(value, change) for name, value in named.items()}], ensure_ascii=False)


def load(url: str, lines: Iterable[str]) -> None:
    """Let the tables of a new database have these rows."""
    database = plain(url)
    rows = [json.loads(line) for line in lines]
    for table in dict.fromkeys(table for table, _ in rows):
        named = [row for place, row in rows if place == table]
        database.replace(table, list(named[0]), [[_read(value) for value in row.values()] for row in named])


def _emptying(table: str) -> str:
    return f"delete from {table}"  # noqa: S608 - a name of ours


def _insertion(table: str, columns: list[str], marks: list[str]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join(marks)})"  # noqa: S608 - names of ours


def _like(old: object, new: object) -> object:
    return new.encode() if isinstance(old, bytes) and isinstance(new, str) else new


def _told(value: object, change: Change) -> object:
    """Return a value as JSON has it: bytes as text where they are text."""
    if not isinstance(value, bytes):
        return value
    value = change(value)
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _read(value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = cast("dict[str, str]", value).items()
    return text.encode() if kind == "text" else base64.b64decode(text)

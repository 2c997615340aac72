"""Fills a database quickly, for measurements of reading alone: the database copies rows that it has.

The copies differ from rows that the store wrote only in their ids and times. No fence checks them.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiomysql
import asyncpg
from msgspec import Raw

from romancy.core import ActivityCompleted, ActivityScheduled, encode_commit
from romancy.storage.url import parse_url
from romancy_conformance.behaviour.commands.crowd import fill
from tests.dashboard.long_log import plant

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from romancy.storage.url import StorageURL

__all__ = ["fill_quickly", "plant_quickly"]

ORIGINALS: Final = 10_000
SPREAD: Final = 2_600_000
"""Microseconds from one instance to the next: a million of them began within thirty days."""
_STEP: Final = 2_000
_TABLES: Final = ("instances", "log", "index")
_TIMES: Final = ("created_at", "updated_at", "touched_at", "at")


class _Rows(NamedTuple):
    """A connection that bypasses the store."""

    run: Callable[[str], Awaitable[Any]]
    many: Callable[[str, Sequence[tuple[Any, ...]]], Awaitable[Any]]
    columns: Callable[[str], Awaitable[list[str]]]
    glue: str
    """The expression of an id with something before it, so that copies follow each other in the tables."""
    number: str
    """The expression of the number in an id."""
    marks: Sequence[str]
    """Of four parameters."""
    indexes: str = ""
    """Lists the indexes besides primary keys, by name and statement. Without them, inserts are much faster."""
    ask: Callable[[str], Awaitable[list[tuple[str, str]]]] | None = None


@asynccontextmanager
async def _sqlite(path: str) -> AsyncGenerator[_Rows]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:

        async def run(sql: str) -> None:
            connection.execute(sql)

        async def many(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
            connection.executemany(sql, rows)

        async def columns(table: str) -> list[str]:
            return [one[0] for one in connection.execute(f"select * from {table} limit 0").description]  # noqa: S608

        async def ask(sql: str) -> list[tuple[str, str]]:
            return connection.execute(sql).fetchall()

        number = "cast(substr(instance_id, 3) as integer)"
        listed = "select name, sql from sqlite_master where type = 'index' and sql is not null"
        await run("pragma synchronous = off")
        await run("begin immediate")
        yield _Rows(run, many, columns, "'{}' || instance_id", number, "????", listed, ask)
        await run("commit")
        await run("analyze")
        await run("pragma wal_checkpoint(truncate)")


@asynccontextmanager
async def _postgres(url: str) -> AsyncGenerator[_Rows]:
    connection = await asyncpg.connect(url)

    async def columns(table: str) -> list[str]:
        asked = await connection.prepare(f"select * from {table} limit 0")  # noqa: S608 - a name of this module
        return [one.name for one in asked.get_attributes()]

    async def ask(sql: str) -> list[tuple[str, str]]:
        return [(name, text) for name, text in await connection.fetch(sql)]

    marks = [f"${index}" for index in range(1, 5)]
    number = "substr(instance_id, 3)::bigint"
    listed = (
        "select indexname, indexdef from pg_indexes where schemaname = current_schema() "
        "and tablename in ('romancy_instances', 'romancy_index') and indexdef not like 'CREATE UNIQUE%'"
    )
    run, many = connection.execute, connection.executemany
    yield _Rows(run, many, columns, "'{}' || instance_id", number, marks, listed, ask)
    await connection.execute("vacuum analyze")
    await connection.close()


@asynccontextmanager
async def _mysql(parsed: StorageURL) -> AsyncGenerator[_Rows]:
    connection = await aiomysql.connect(
        host=parsed.host or "localhost", port=parsed.port or 3306, user=parsed.user, password=parsed.password or "",
        db=parsed.database, unix_socket=parsed.options.get("socket"), autocommit=True,
    )  # fmt: skip

    async def run(sql: str) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(sql)

    async def many(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        async with connection.cursor() as cursor:
            await cursor.executemany(sql, rows)

    async def columns(table: str) -> list[str]:
        async with connection.cursor() as cursor:
            await cursor.execute(
                "select column_name from information_schema.columns where table_schema = database() "
                "and table_name = %s and coalesce(generation_expression, '') = ''",
                (table,),
            )
            return [one[0] for one in await cursor.fetchall()]

    number = "cast(substr(instance_id, 3, 7) as signed)"
    yield _Rows(run, many, columns, "concat('{}', instance_id)", number, ["%s"] * 4)
    await run("analyze table romancy_instances, romancy_index, romancy_log")
    connection.close()


def _rows(url: str) -> AbstractAsyncContextManager[_Rows]:
    parsed = parse_url(url)
    if parsed.scheme == "sqlite":
        return _sqlite(parsed.path)
    return _postgres(url) if parsed.scheme == "postgresql" else _mysql(parsed)


async def fill_quickly(url: str, size: int) -> None:
    """Start some instances through the store, and copy them until there are enough, spread over time."""
    await fill(url, min(size, ORIGINALS))
    async with _rows(url) as rows:
        indexes = await rows.ask(rows.indexes) if rows.ask is not None else []
        for name, _ in indexes:
            await rows.run(f"drop index {name}")
        for copy in range(1, size // ORIGINALS):
            for table in _TABLES:
                name = f"romancy_{table}"
                columns = await rows.columns(name)
                values = [_value(column, copy, rows) for column in columns]
                await rows.run(
                    f"insert into {name} ({', '.join(columns)}) select {', '.join(values)} from {name} "  # noqa: S608
                    "where instance_id >= 'i-' and instance_id < 'i.'"
                )
        for _, statement in indexes:
            await rows.run(statement)


def _value(column: str, copy: int, rows: _Rows) -> str:
    if column == "instance_id":
        return rows.glue.format(f"j{copy:03}-")
    return f"{column} - ({rows.number} + {copy * ORIGINALS}) * {SPREAD}" if column in _TIMES else column


async def plant_quickly(url: str, events: int) -> None:
    """Write an instance with a log of this number of events, as `plant` does."""
    await plant(url, 4)
    async with _rows(url) as rows:
        life, at = "(select life from romancy_instances where instance_id = 'long')", 1_790_000_000_000_000
        text = (
            f"insert into romancy_log (instance_id, life, seq, writer, body, at) values "  # noqa: S608
            f"('long', {life}, {', '.join(rows.marks)})"
        )
        for first in range(3, events // 2 + 1, 1000):
            batch = range(first, min(first + 1000, events // 2 + 1))
            await rows.many(text, [(seq, f"n-{seq}", _body(seq, at), at + seq * _STEP) for seq in batch])


def _body(seq: int, at: int) -> bytes:
    ended = ActivityCompleted(at=at + seq * _STEP, id=f"a:{seq - 1}", result=Raw(b'{"receipt":"r"}'))
    asked = ActivityScheduled(id=f"a:{seq}", name="a", args=Raw(b'{"order":"lamp","count":2}'))
    return encode_commit([ended, asked])

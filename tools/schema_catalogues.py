"""A database's schema, read from its own catalogue: tables, columns, keys and indexes that an adapter made."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Column", "Table", "dialect_of", "read_schema"]

DIALECTS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
_NOW = re.compile(r"timestampdiff|clock_timestamp|romancy_now", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"x'([0-9A-Fa-f]*)'")


class Column(Struct, frozen=True):
    """One column, with `default` as the database writes it."""

    name: str
    type: str
    null: bool
    default: str | None = None

    def __str__(self) -> str:
        default = self.default or ""
        shown = "now" if _NOW.search(default) else default.removesuffix("::text").removesuffix("::text[]")
        return f"{self.type}{' or null' if self.null else ''}{f', default {shown}' if shown else ''}"


class Table(Struct, frozen=True):
    """One table or view. `indexes` are in the database's words, the primary key first."""

    name: str
    columns: list[Column]
    indexes: list[str]
    view: bool = False


def dialect_of(url: str) -> str:
    """Return the name of the database at `url` on the page."""
    return DIALECTS[urlsplit(url).scheme]


async def read_schema(url: str) -> list[Table]:
    """Return all tables and views of Romancy, by name."""
    readers: dict[str, Callable[[str], Awaitable[list[Table]]]] = {
        "SQLite": _sqlite, "PostgreSQL": _postgres, "MySQL": _mysql, "MariaDB": _mysql
    }  # fmt: skip
    return sorted(await readers[dialect_of(url)](url), key=lambda table: table.name)


async def _sqlite(url: str) -> list[Table]:
    tables: list[Table] = []
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        listed = "select name, type from sqlite_master where type in ('table', 'view') and name like 'romancy%'"
        for name, kind in connection.execute(listed).fetchall():
            rows = connection.execute("select name, type, [notnull], dflt_value, pk from pragma_table_info(?)", (name,))
            info = rows.fetchall()
            columns = [Column(row[0], row[1].lower(), not row[2] and not row[4], row[3]) for row in info]
            key = ", ".join(row[0] for row in sorted(info, key=lambda row: int(row[4])) if row[4])
            made = connection.execute(
                "select sql from sqlite_master where type = 'index' and tbl_name = ? and sql is not null order by name",
                (name,),
            )
            indexes = [_after_on(row[0], name) for row in made]
            tables.append(Table(name, columns, [f"primary key ({key})"] * bool(key) + indexes, kind == "view"))
    return tables


def _after_on(sql: str, table: str) -> str:
    """Return an index without its table's name: `create unique index x on t (c)` becomes `unique (c)`."""
    before, _, after = re.sub(r'[\[\]"`]', "", " ".join(sql.split())).partition(f" {table} ")
    return f"unique {after}" if " unique " in before.lower() else after


async def _postgres(url: str) -> list[Table]:
    import asyncpg  # noqa: PLC0415 - only this reader needs the driver

    connection = await asyncpg.connect(url)
    try:
        listed = await connection.fetch(
            "select oid, relname, relkind = 'v' from pg_class where relkind in ('r', 'v') and relname like 'romancy%' "
            "and relnamespace = current_schema()::regnamespace"
        )
        tables: list[Table] = []
        for oid, name, view in listed:
            columns = await connection.fetch(
                "select attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) "
                "from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum "
                "where attrelid = $1 and attnum > 0 and not attisdropped order by attnum",
                oid,
            )
            indexes = await connection.fetch(
                "select indisprimary, pg_get_indexdef(indexrelid) from pg_index where indrelid = $1 "
                'order by not indisprimary, (indexrelid::regclass::text) collate "C"',
                oid,
            )
            made = [Column(row[0], row[1], not row[2], row[3]) for row in columns]
            tables.append(Table(name, made, [_definition(row[0], row[1]) for row in indexes], view))
        return tables
    finally:
        await connection.close()


def _definition(primary: bool, definition: str) -> str:  # noqa: FBT001 - as the catalogue says it
    text = definition.partition(" USING btree ")[2]
    return f"primary key {text}" if primary else text.replace(" WHERE ", " where ").replace(" DESC", " desc")


async def _mysql(url: str) -> list[Table]:
    import aiomysql  # noqa: PLC0415 - only this reader needs the driver

    parts = urlsplit(url)
    database = parts.path.removeprefix("/")
    connection: Any = await aiomysql.connect(
        host=parts.hostname or "127.0.0.1", port=parts.port or 3306, user=unquote(parts.username or ""),
        password=unquote(parts.password or ""), db=database,
    )  # fmt: skip
    try:
        cursor: Any = await connection.cursor()

        async def rows(sql: str, *parameters: str) -> list[tuple[Any, ...]]:
            await cursor.execute(sql, parameters)
            return list(await cursor.fetchall())

        listed = await rows(
            "select table_name, table_type from information_schema.tables "
            "where table_schema = %s and table_name like 'romancy%%'", database
        )  # fmt: skip
        tables: list[Table] = []
        for name, kind in listed:
            columns = await rows(
                "select column_name, column_type, is_nullable, column_default from information_schema.columns "
                "where table_schema = %s and table_name = %s order by ordinal_position", database, name
            )  # fmt: skip
            indexes = await rows(
                "select index_name, group_concat(column_name, if(collation = 'D', ' desc', '') "
                "order by seq_in_index separator ', ') from information_schema.statistics "
                "where table_schema = %s and table_name = %s group by index_name "
                "order by index_name <> 'PRIMARY', index_name", database, name
            )  # fmt: skip
            made = [_mysql_column(row) for row in columns]
            keys = [f"primary key ({row[1]})" if row[0] == "PRIMARY" else f"({row[1]})" for row in indexes]
            tables.append(Table(name, made, keys, kind == "VIEW"))
        return tables
    finally:
        connection.close()


def _mysql_column(row: tuple[Any, ...]) -> Column:
    """Return one column; MySQL and MariaDB write the same default differently."""
    default = None if row[3] in (None, "NULL") else str(row[3]).removeprefix("_binary").replace("\\'", "'")
    if default is not None and (written := _HEXADECIMAL.fullmatch(default)):  # MariaDB 11
        default = f"'{bytes.fromhex(written[1]).decode()}'"
    if default is not None and not default.isdigit() and not default.startswith("'") and not _NOW.search(default):
        default = f"'{default}'"
    kind = re.sub(r"\b(bigint|int|tinyint|smallint)\(\d+\)", r"\1", str(row[1]))
    return Column(row[0], kind, row[2] == "YES", default)

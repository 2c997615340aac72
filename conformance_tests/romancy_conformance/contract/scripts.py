"""Runs scripts and queries on a database, beside every store."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.url import StorageURL

__all__ = ["connect_to_postgres", "fetch_rows", "run_script"]


async def run_script(url: str, script: str) -> None:
    """Run a script on the database as a DBA does."""
    parsed = parse_url(url)
    scripts = {
        "sqlite": _sqlite,
        "postgresql": _postgres,
        "postgres": _postgres,
        "mysql": _mysql,
        "mariadb": _mysql,
        "tidb": _mysql,
    }
    if parsed.scheme not in scripts:
        pytest.skip(f"capability: the suite cannot run a script on {parsed.scheme}://")
    await scripts[parsed.scheme](parsed, script)


async def fetch_rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of one query."""
    parsed = parse_url(url)
    if parsed.scheme == "sqlite":
        with closing(_file(parsed)) as connection:
            return connection.execute(query).fetchall()
    if parsed.scheme in {"postgresql", "postgres"}:
        connection = await connect_to_postgres(parsed)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()
    if parsed.scheme in {"mysql", "mariadb", "tidb"}:
        async with _connected_to_mysql(parsed) as connection:
            cursor: Any = await connection.cursor()
            await cursor.execute(query)
            return list(await cursor.fetchall())
    pytest.skip(f"capability: the suite cannot ask {parsed.scheme}://")


def _file(url: StorageURL) -> sqlite3.Connection:
    return sqlite3.connect(Path(url.path.removeprefix("/")))


async def _sqlite(url: StorageURL, script: str) -> None:
    with closing(_file(url)) as connection:
        connection.executescript(script)


async def connect_to_postgres(url: StorageURL) -> Any:
    """Return a connection of asyncpg."""
    import asyncpg  # noqa: PLC0415 - only the suite's own runs have every driver

    return await asyncpg.connect(
        host=url.options.get("host") or url.host, port=url.port, user=url.user, password=url.password,
        database=url.database,
    )  # fmt: skip


async def _postgres(url: StorageURL, script: str) -> None:
    from romancy_postgres._migrations import each_statement  # noqa: PLC0415 - only the suite's own runs have it

    connection = await connect_to_postgres(url)
    try:
        for statement in each_statement(script):  # as psql does
            await connection.execute(statement)
    finally:
        await connection.close()


async def _mysql(url: StorageURL, script: str) -> None:
    async with _connected_to_mysql(url) as connection:
        cursor: Any = await connection.cursor()
        await cursor.execute(script)
        while await cursor.nextset():
            pass


@asynccontextmanager
async def _connected_to_mysql(url: StorageURL) -> AsyncGenerator[Any]:
    import aiomysql  # noqa: PLC0415 - only the suite's own runs have every driver
    from pymysql.constants import CLIENT  # noqa: PLC0415 - the same

    options: dict[str, Any] = {"unix_socket": url.options["socket"]} if "socket" in url.options else {}
    connection = await aiomysql.connect(
        host=url.host or "localhost", port=url.port or 3306, user=url.user, password=url.password or "",
        db=url.database, client_flag=CLIENT.MULTI_STATEMENTS, autocommit=True, **options,
    )  # fmt: skip
    try:
        yield connection
    finally:
        connection.close()

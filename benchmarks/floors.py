"""What the database itself can do, measured beside every figure of ours: durable single-row commits a second.

The row is about as large as a log row (200 bytes), the connection is one, the statement is prepared where the driver
prepares, and the durability is that of the server's production settings. Nothing of Romancy is involved.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["commits_per_second"]

_BODY = b"x" * 200
_SECONDS = 2.0


def commits_per_second(url: str) -> float:
    """Durable single-row inserts a second on one connection to the database at `url`."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return _sqlite(Path(url.removeprefix("sqlite:///")).parent)
    return asyncio.run(_postgres(url) if scheme.startswith("postgres") else _mysql(url))


def _sqlite(folder: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        connection = sqlite3.connect(Path(place) / "floor.db", isolation_level=None)
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        connection.execute("create table floor (k integer primary key, body blob)")
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < _SECONDS:
            connection.execute("insert into floor (body) values (?)", (_BODY,))
            count += 1
        rate = count / (time.perf_counter() - began)
        connection.close()
        return rate


async def _rate(insert: Callable[[], Awaitable[object]]) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < _SECONDS:
        await insert()
        count += 1
    return count / (time.perf_counter() - began)


async def _postgres(url: str) -> float:
    import asyncpg  # noqa: PLC0415 - only this floor needs the driver

    connection = await asyncpg.connect(url)
    try:
        await connection.execute("create table romancy_floor (k bigserial primary key, body bytea)")
        statement = await connection.prepare("insert into romancy_floor (body) values ($1)")
        return await _rate(lambda: statement.fetch(_BODY))
    finally:
        await connection.execute("drop table if exists romancy_floor")
        await connection.close()


async def _mysql(url: str) -> float:
    import aiomysql  # noqa: PLC0415 - only this floor needs the driver

    parts = urlsplit(url)
    connection = await aiomysql.connect(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        db=parts.path.removeprefix("/"),
        autocommit=True,
    )
    cursor = await connection.cursor()
    try:
        await cursor.execute("create table romancy_floor (k bigint primary key auto_increment, body blob)")
        return await _rate(lambda: cursor.execute("insert into romancy_floor (body) values (%s)", (_BODY,)))
    finally:
        await cursor.execute("drop table if exists romancy_floor")
        connection.close()

"""The floor under the storage figures: the same database without Romancy, measured in turn with Romancy.

It uses one connection of the driver alone, the server's production durability, and a prepared statement if the driver
prepares. `commit` is one durable insert of one row of 200 bytes. `rows` is one durable insert of many rows like those
of the log, with its primary key of ids. `sync` is the time of the disk itself for 4 kB.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg
    from asyncpg.prepared_stmt import PreparedStatement

__all__ = ["ROWS", "SECONDS", "Disk", "Floor", "default_journal", "floor_of", "one_after_another"]

SECONDS = 0.1
"""Length of one round."""
ROWS = 64
"""Rows in one batch: as many as 64 writers have ready at once."""
_BODY = b"x" * 200
_LOG_LIKE = "(instance_id {text} not null, life bigint not null, seq bigint not null, writer {text} not null, body {blob} not null, at bigint not null, primary key (instance_id, life, seq))"  # fmt: skip  # noqa: E501

LogRow = tuple[str, int, int, str, bytes, int]


class Floor(Protocol):
    """A connection of the driver."""

    async def open(self) -> None:
        """Connect and make two tables."""
        ...

    async def commit(self) -> int:
        """Insert one row durably; return the number of rows."""
        ...

    async def rows(self) -> int:
        """Insert a batch of rows like those of the log durably; return the number of rows."""
        ...

    async def nothing(self) -> int:
        """Make a round trip that reads nothing; return 1."""
        ...

    async def join(self) -> None:
        """Connect to the tables of another one."""
        ...

    async def leave(self) -> None:
        """Disconnect and leave the tables."""
        ...

    async def close(self) -> None:
        """Drop the tables and the connection."""
        ...


async def one_after_another(step: Callable[[], Awaitable[int]]) -> float:
    """Return the operations a second in one round."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        count += await step()
    return count / (time.perf_counter() - began)


def floor_of(url: str) -> Floor:
    """Return the floor of the database at `url`."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return _Sqlite(Path(url.removeprefix("sqlite:///")).parent / "floor.db")
    return _Postgres(url) if scheme.startswith("postgres") else _Mysql(url)


def default_journal(url: str) -> Floor:
    """Return the floor of SQLite without WAL."""
    return _Sqlite(Path(url.removeprefix("sqlite:///")).parent / "floor-delete.db", journal="delete")


class Disk:
    """A file that is written as a database writes its log: in order, into preallocated space."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "romancy-disk"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT)
        os.write(self._file, bytes(4096 * 4096))
        os.fsync(self._file)
        self._place = itertools.cycle(range(0, 4096 * 4096, 4096))

    async def sync(self) -> int:
        """Write 4 kB and wait until they are on the disk."""
        os.pwrite(self._file, secrets.token_bytes(4096), next(self._place))
        os.fdatasync(self._file)
        return 1

    def close(self) -> None:
        os.close(self._file)
        self._path.unlink()


class _Batches:
    """Rows as 64 instances append them: each instance's next number."""

    def __init__(self) -> None:
        self._ids = [f"floor-{secrets.token_hex(12)}" for _ in range(ROWS)]
        self._seq = itertools.count(1)

    def next(self) -> list[LogRow]:
        seq = next(self._seq)
        return [(one, 7, seq, f"worker-{seq}", _BODY, 1_700_000_000_000_000) for one in self._ids]


class _Sqlite:
    def __init__(self, path: Path, journal: str = "wal") -> None:
        self._path = path
        self._journal = journal
        self._batches = _Batches()

    async def open(self) -> None:
        await self.join()
        self._connection.execute("create table one (k integer primary key, body blob)")
        self._connection.execute(f"create table many {_LOG_LIKE.format(text='text', blob='blob')} without rowid")

    async def commit(self) -> int:
        return self._connection.execute("insert into one (body) values (?)", (_BODY,)).rowcount

    async def rows(self) -> int:
        self._connection.execute("begin immediate")
        count = self._connection.executemany(
            "insert into many values (?, ?, ?, ?, ?, ?)", self._batches.next()
        ).rowcount
        self._connection.execute("commit")
        return count

    async def nothing(self) -> int:
        self._connection.execute("select 1").fetchone()
        return 1

    async def join(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute(f"pragma journal_mode={self._journal}")
        self._connection.execute("pragma synchronous=full")

    async def leave(self) -> None:
        self._connection.close()

    async def close(self) -> None:
        self._connection.close()
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()


class _Postgres:
    def __init__(self, url: str) -> None:
        self._url = url
        self._batches = _Batches()

    async def open(self) -> None:
        await self._connect()
        await self._connection.execute("create table floor_one (k bigserial primary key, body bytea)")
        log_like = _LOG_LIKE.format(text='text collate "C"', blob="bytea")
        await self._connection.execute(f"create table floor_many {log_like}")
        await self._prepare()

    async def _connect(self) -> None:
        import asyncpg  # noqa: PLC0415 - only this floor needs the driver

        self._connection: asyncpg.Connection = await asyncpg.connect(self._url)

    async def _prepare(self) -> None:
        self._none: PreparedStatement = await self._connection.prepare("select 1")
        self._one: PreparedStatement = await self._connection.prepare("insert into floor_one (body) values ($1)")
        self._many: PreparedStatement = await self._connection.prepare(
            "insert into floor_many select * from "
            "unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bigint[])"
        )

    async def commit(self) -> int:
        await self._one.fetch(_BODY)
        return 1

    async def rows(self) -> int:
        await self._many.fetch(*map(list, zip(*self._batches.next(), strict=True)))
        return ROWS

    async def nothing(self) -> int:
        await self._none.fetch()
        return 1

    async def join(self) -> None:
        await self._connect()
        await self._prepare()

    async def leave(self) -> None:
        await self._connection.close()

    async def close(self) -> None:
        await self._connection.execute("drop table floor_one, floor_many")
        await self._connection.close()


class _Mysql:
    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._batches = _Batches()

    async def open(self) -> None:
        await self.join()
        await self._cursor.execute("create table floor_one (k bigint primary key auto_increment, body blob)")
        await self._cursor.execute(
            f"create table floor_many {_LOG_LIKE.format(text='varbinary(255)', blob='mediumblob')}"
        )

    async def join(self) -> None:
        import aiomysql  # noqa: PLC0415 - only this floor needs the driver

        self._connection = await aiomysql.connect(
            host=self._url.hostname or "127.0.0.1",
            port=self._url.port or 3306,
            user=unquote(self._url.username or ""),
            password=unquote(self._url.password or ""),
            db=self._url.path.removeprefix("/"),
            autocommit=True,
        )
        self._cursor = await self._connection.cursor()

    async def leave(self) -> None:
        self._connection.close()

    async def nothing(self) -> int:
        await self._cursor.execute("select 1")
        await self._cursor.fetchall()
        return 1

    async def commit(self) -> int:
        await self._cursor.execute("insert into floor_one (body) values (%s)", (_BODY,))
        return 1

    async def rows(self) -> int:
        values = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * ROWS)
        flat = [value for row in self._batches.next() for value in row]
        return await self._cursor.execute(f"insert into floor_many values {values}", flat)  # noqa: S608 - placeholders

    async def close(self) -> None:
        await self._cursor.execute("drop table floor_one, floor_many")
        self._connection.close()

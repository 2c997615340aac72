"""A user's own connection to an app's database, with a user's table, for calls that join a caller's transaction.

The key is the scheme of the storage URL. For an adapter that is not listed here, only the sessions of activities are
tested.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Protocol

from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiomysql
    import asyncpg

    from romancy.storage.url import StorageURL

__all__ = ["Caller", "caller_for"]

_CREATE = "create table if not exists guests (name varchar(40) primary key)"


class Caller(Protocol):
    """A user's connection."""

    connection: Any

    async def begin(self) -> None: ...

    async def commit(self) -> None: ...

    async def roll_back(self) -> None: ...

    async def write(self, name: str) -> None:
        """Add a row to the user's table."""
        ...

    async def names(self) -> list[str]:
        """Return all rows of the user's table, as this connection sees them."""
        ...

    async def elsewhere(self) -> object:
        """Return a connection in a transaction that sees other tables than the app; None where all see the same."""
        ...

    async def close(self) -> None: ...


class _Sqlite:
    def __init__(self, url: StorageURL) -> None:
        self._path = url.path.removeprefix("/")
        self.connection = self._connect(self._path)
        self.connection.execute(_CREATE)
        self._other: sqlite3.Connection | None = None

    def _connect(self, path: str) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None)

    async def begin(self) -> None:
        self.connection.execute("begin immediate")

    async def commit(self) -> None:
        self.connection.execute("commit")

    async def roll_back(self) -> None:
        self.connection.execute("rollback")

    async def write(self, name: str) -> None:
        self.connection.execute("insert into guests values (?)", (name,))

    async def names(self) -> list[str]:
        return [name for (name,) in self.connection.execute("select name from guests order by name")]

    async def elsewhere(self) -> object:
        self._other = self._connect(f"{self._path}.other")
        self._other.execute("begin immediate")
        return self._other

    async def close(self) -> None:
        self.connection.close()
        if self._other is not None:
            self._other.close()


class _Postgres:
    """The connection comes from a pool, as most do."""

    def __init__(self, pool: asyncpg.Pool, connection: Any, dsn: str, *, named: bool) -> None:
        self._pool = pool
        self._dsn = dsn
        self._named = named
        """Whether the app names its tables with their schema."""
        self.connection = connection
        self._other: asyncpg.Connection | None = None

    async def begin(self) -> None:
        await self.connection.execute("begin")

    async def commit(self) -> None:
        await self.connection.execute("commit")

    async def roll_back(self) -> None:
        await self.connection.execute("rollback")

    async def write(self, name: str) -> None:
        await self.connection.execute("insert into guests values ($1)", name)

    async def names(self) -> list[str]:
        return [str(row["name"]) for row in await self.connection.fetch("select name from guests order by name")]

    async def elsewhere(self) -> object:
        if self._named:
            return None
        import asyncpg  # noqa: PLC0415 - only the suite's own runs have every driver

        self._other = await asyncpg.connect(self._dsn)
        await self._other.execute("begin; set local search_path = pg_temp")
        return self._other

    async def close(self) -> None:
        if self._other is not None:
            await self._other.close()
        await self._pool.release(self.connection)
        await self._pool.close()


class _Mysql:
    def __init__(self, connection: aiomysql.Connection) -> None:
        self.connection = connection

    async def begin(self) -> None:
        await self.connection.begin()

    async def commit(self) -> None:
        await self.connection.commit()

    async def roll_back(self) -> None:
        await self.connection.rollback()

    async def write(self, name: str) -> None:
        cursor = await self.connection.cursor()
        await cursor.execute("insert into guests values (%s)", (name,))

    async def names(self) -> list[str]:
        cursor = await self.connection.cursor()
        await cursor.execute("select name from guests order by name")
        return [str(name) for (name,) in await cursor.fetchall()]

    async def elsewhere(self) -> object:
        return None  # the app's tables are named with their database

    async def close(self) -> None:
        self.connection.close()


async def _sqlite(url: StorageURL) -> Caller:
    return _Sqlite(url)


async def _postgres(url: StorageURL) -> Caller:
    import asyncpg  # noqa: PLC0415 - only the suite's own runs have every driver

    dsn = url.original.partition("?")[0]
    named = "schema" in url.options
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=1)
    connection: Any = await pool.acquire()
    await connection.execute(_CREATE)
    return _Postgres(pool, connection, dsn, named=named)


async def _mysql(url: StorageURL) -> Caller:
    import aiomysql  # noqa: PLC0415 - only the suite's own runs have every driver

    connection = await aiomysql.connect(
        host=url.host or "localhost",
        port=url.port or 3306,
        user=url.user or "",
        password=url.password or "",
        db=url.database,
        unix_socket=url.options.get("socket") or None,
        charset="utf8mb4",
        autocommit=True,
    )
    await (await connection.cursor()).execute(_CREATE)
    return _Mysql(connection)


_BY_SCHEME: dict[str, Callable[[StorageURL], Awaitable[Caller]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "postgres": _postgres,
    "mysql": _mysql,
    "mariadb": _mysql,
    "tidb": _mysql,
}


def caller_for(url: str) -> Callable[[], Awaitable[Caller]] | None:
    """Return how to open a user's connection to this database; None where the suite does not know how."""
    parsed = parse_url(url)
    opener = _BY_SCHEME.get(parsed.scheme)
    return None if opener is None else lambda: opener(parsed)

"""Libraries as an app's author uses them: each opens a transaction of its own on the app's database."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiomysql
import aiosqlite
import psycopg
import pymysql
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["DRIVERS", "LIBRARIES", "NAMES", "ONLY", "Caller", "kind_of", "opened", "sqlalchemy_url"]

CREATE: Final = "create table if not exists guests (name varchar(40) primary key)"
INSERT: Final = "insert into guests values ('{}')"
NAMES: Final = "select name from guests order by name"

DRIVERS: Final = {
    "sqlite": ("aiosqlite", "pysqlite"),
    "postgresql": ("asyncpg", "psycopg"),
    "mysql": ("aiomysql", "pymysql"),
}
"""The driver of SQLAlchemy's that awaits, and the one that blocks."""


class Caller(Protocol):
    """A transaction of the author's, which begins by itself."""

    session: Any

    async def write(self, name: str) -> None: ...

    async def names(self) -> list[str]: ...

    async def commit(self) -> None: ...

    async def roll_back(self) -> None: ...


class Awaited:
    """A session or connection of SQLAlchemy that awaits."""

    def __init__(self, session: AsyncSession | AsyncConnection) -> None:
        self.session = session

    async def write(self, name: str) -> None:
        await self.session.execute(text(INSERT.format(name)))

    async def names(self) -> list[str]:
        return [str(row[0]) for row in await self.session.execute(text(NAMES))]

    async def commit(self) -> None:
        await self.session.commit()

    async def roll_back(self) -> None:
        await self.session.rollback()


class Blocking:
    """A session or connection of SQLAlchemy that blocks."""

    def __init__(self, session: Session | Connection) -> None:
        self.session = session

    async def write(self, name: str) -> None:
        self.session.execute(text(INSERT.format(name)))

    async def names(self) -> list[str]:
        return [str(row[0]) for row in self.session.execute(text(NAMES))]

    async def commit(self) -> None:
        self.session.commit()

    async def roll_back(self) -> None:
        self.session.rollback()


class AwaitedDriver:
    """A driver's connection whose methods await."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def write(self, name: str) -> None:
        await self._run(INSERT.format(name))

    async def names(self) -> list[str]:
        return [str(row[0]) for row in await (await self._run(NAMES)).fetchall()]

    async def _run(self, sql: str) -> Any:
        if isinstance(self.session, aiomysql.Connection):
            cursor = await self.session.cursor()
            await cursor.execute(sql)
            return cursor
        return await self.session.execute(sql)

    async def commit(self) -> None:
        await self.session.commit()

    async def roll_back(self) -> None:
        await self.session.rollback()


class BlockingDriver:
    """A driver's connection after the DB-API."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def write(self, name: str) -> None:
        self.session.cursor().execute(INSERT.format(name))

    async def names(self) -> list[str]:
        cursor = self.session.cursor()
        cursor.execute(NAMES)
        return [str(row[0]) for row in cursor.fetchall()]

    async def commit(self) -> None:
        self.session.commit()

    async def roll_back(self) -> None:
        self.session.rollback()


def sqlalchemy_url(url: str, driver: str) -> URL:
    """The database of this URL of Romancy's as SQLAlchemy names it."""
    parsed = parse_url(url)
    kind = kind_of(url)
    if kind == "sqlite":
        return URL.create(f"sqlite+{driver}", database=parsed.path.removeprefix("/"))
    socket = parsed.options.get("socket")
    return URL.create(
        f"{kind}+{driver}",
        username=parsed.user,
        password=parsed.password,
        host=parsed.host or "localhost",
        port=parsed.port,
        database=parsed.database,
        query={"unix_socket": socket} if socket else {},
    )


def kind_of(url: str) -> str:
    """The kind of the database: `sqlite`, `postgresql` or `mysql`."""
    scheme = parse_url(url).scheme.partition("+")[0]
    return {"postgres": "postgresql", "mariadb": "mysql"}.get(scheme, scheme)


@asynccontextmanager
async def async_session(url: str, driver: str | None = None) -> AsyncGenerator[Caller]:
    """An `AsyncSession`."""
    engine = create_async_engine(sqlalchemy_url(url, driver or DRIVERS[kind_of(url)][0]))
    async with AsyncSession(engine) as session:
        yield Awaited(session)
    await engine.dispose()


def psycopg_session(url: str) -> AbstractAsyncContextManager[Caller]:
    """An `AsyncSession` on psycopg; elsewhere the same as `async_session`."""
    return async_session(url, "psycopg" if kind_of(url) == "postgresql" else None)


@asynccontextmanager
async def async_connection(url: str) -> AsyncGenerator[Caller]:
    """An `AsyncConnection`."""
    engine = create_async_engine(sqlalchemy_url(url, DRIVERS[kind_of(url)][0]))
    async with engine.connect() as connection:
        yield Awaited(connection)
    await engine.dispose()


@asynccontextmanager
async def session(url: str) -> AsyncGenerator[Caller]:
    """A `Session`."""
    engine = create_engine(sqlalchemy_url(url, DRIVERS[kind_of(url)][1]))
    with Session(engine) as one:
        yield Blocking(one)
    engine.dispose()


@asynccontextmanager
async def psycopg2_session(url: str) -> AsyncGenerator[Caller]:
    """A `Session` on psycopg2."""
    engine = create_engine(sqlalchemy_url(url, "psycopg2"))
    with Session(engine) as one:
        yield Blocking(one)
    engine.dispose()


@asynccontextmanager
async def connection(url: str) -> AsyncGenerator[Caller]:
    """A `Connection`."""
    engine = create_engine(sqlalchemy_url(url, DRIVERS[kind_of(url)][1]))
    with engine.connect() as one:
        yield Blocking(one)
    engine.dispose()


@asynccontextmanager
async def awaited_driver(url: str) -> AsyncGenerator[Caller]:
    """A connection of aiosqlite, psycopg or aiomysql."""
    where, kind = sqlalchemy_url(url, "x"), kind_of(url)
    if kind == "sqlite":
        async with aiosqlite.connect(where.database or "") as one:
            yield AwaitedDriver(one)
    elif kind == "postgresql":
        async with await psycopg.AsyncConnection.connect(_dsn(where)) as two:
            yield AwaitedDriver(two)
            await two.rollback()
    else:
        three = await aiomysql.connect(**_options(where), autocommit=False)
        yield AwaitedDriver(three)
        three.close()


@asynccontextmanager
async def blocking_driver(url: str) -> AsyncGenerator[Caller]:
    """A connection of sqlite3, psycopg or PyMySQL."""
    where, kind = sqlalchemy_url(url, "x"), kind_of(url)
    one: Any
    if kind == "sqlite":
        one = sqlite3.connect(where.database or "")
    elif kind == "postgresql":
        one = psycopg.connect(_dsn(where))
    else:
        one = pymysql.connect(**_options(where), autocommit=False)
    yield BlockingDriver(one)
    one.close()


def _dsn(where: URL) -> str:
    return where.set(drivername="postgresql").render_as_string(hide_password=False)


def _options(where: URL) -> dict[str, Any]:
    return {
        "host": where.host,
        "port": where.port or 3306,
        "user": where.username,
        "password": where.password or "",
        "db": where.database,
        "unix_socket": where.query.get("unix_socket"),
        "charset": "utf8mb4",
    }


LIBRARIES: Final[dict[str, Callable[[str], AbstractAsyncContextManager[Caller]]]] = {
    "AsyncSession": async_session,
    "AsyncSession on psycopg": psycopg_session,
    "AsyncConnection": async_connection,
    "Session": session,
    "Session on psycopg2": psycopg2_session,
    "Connection": connection,
    "awaited driver": awaited_driver,
    "blocking driver": blocking_driver,
}


ONLY: Final = {"Session on psycopg2": "postgresql"}
"""The libraries that know one kind of database."""


@asynccontextmanager
async def opened(library: str, url: str) -> AsyncGenerator[Caller]:
    """A transaction of this library's, and the author's table."""
    async with AsyncExitStack() as stack:
        with create_engine(sqlalchemy_url(url, DRIVERS[kind_of(url)][1])).begin() as making:
            making.execute(text(CREATE))
        making.engine.dispose()
        yield await stack.enter_async_context(LIBRARIES[library](url))

"""The state of a session × the database → the error. The table in docs/transactions.md is this one."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any, Final

import aiomysql
import aiosqlite
import asyncpg
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pymysql
import pymysql.cursors
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from romancy import Romancy, UsageError
from romancy.storage.url import parse_url
from tests.sessions.libraries import DRIVERS, kind_of, sqlalchemy_url
from tests.sessions.workflows import greet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = [pytest.mark.anyio]

POSTGRES: Final = ("asyncpg", "psycopg", "psycopg async", "psycopg2")
MYSQL: Final = ("aiomysql", "pymysql")
SQLITE: Final = ("sqlite3", "aiosqlite")


@pytest.fixture
async def app(storage_url: str) -> AsyncIterator[Romancy]:
    async with Romancy(storage_url, workflows=[greet], worker=False) as app:
        yield app


class Given:
    """A connection of one driver, and how to bring it into a state."""

    def __init__(self, driver: str, connection: Any) -> None:
        self.driver = driver
        self.connection = connection

    async def run(self, sql: str) -> None:
        connection = self.connection
        if self.driver == "aiomysql":
            cursor = await connection.cursor()
            await cursor.execute(sql)
        elif self.driver in ("asyncpg", "psycopg async", "aiosqlite"):
            await connection.execute(sql)
        elif self.driver in ("psycopg2", "pymysql"):
            with connection.cursor() as cursor:
                cursor.execute(sql)
        else:
            connection.execute(sql)

    async def close(self) -> None:
        if self.driver == "aiomysql":
            self.connection.close()
            return
        closed = self.connection.close()
        if closed is not None:
            await closed


async def connected(driver: str, url: str, stack: AsyncExitStack, **options: Any) -> Given:
    parts = parse_url(url)
    mysql: Any = {
        "host": parts.host, "port": parts.port, "user": parts.user, "password": parts.password or "",
        "db": parts.database, "charset": "utf8mb4",
    }  # fmt: skip
    match driver:
        case "asyncpg":
            connection: Any = await asyncpg.connect(url)
        case "psycopg":
            connection = psycopg.connect(url, autocommit=True)
        case "psycopg async":
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        case "psycopg2":
            connection = psycopg2.connect(url)
            connection.autocommit = True
        case "aiomysql":
            connection = await aiomysql.connect(**mysql, autocommit=True, **options)
        case "pymysql":
            connection = pymysql.connect(**mysql, autocommit=True, **options)
        case "sqlite3":
            connection = sqlite3.connect(parts.path, isolation_level=None)
        case _:
            connection = await aiosqlite.connect(parts.path, isolation_level=None)
    given = Given(driver, connection)

    async def close() -> None:
        try:
            await given.close()
        except Exception:  # noqa: BLE001, S110 - it is closed, or in a state from which it cannot be
            pass

    stack.push_async_callback(close)
    return given


async def refused(app: Romancy, session: object, why: str) -> None:
    """Each call is refused by UsageError, and nothing is written."""
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: app.start(greet, "ann", session=session),
        lambda: app.start_many([greet.bind("ann")], session=session),
        lambda: app.publish("greeted", "ann", session=session),
        lambda: app.send("greeted", "ann", session=session),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=why):
            await call()
    assert (await app.list_instances()).instances == []


BEGIN: Final = {
    **dict.fromkeys(POSTGRES, "begin"),
    **dict.fromkeys(MYSQL, "start transaction"),
    **dict.fromkeys(SQLITE, "begin immediate"),
}
READ_ONLY: Final = {
    **dict.fromkeys(POSTGRES, "begin read only"),
    **dict.fromkeys(MYSQL, "start transaction read only"),
}


def of(url: str) -> tuple[str, ...]:
    return {"postgresql": POSTGRES, "mysql": MYSQL, "sqlite": SQLITE}[kind_of(url)]


SERVERS: Final = pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")


@SERVERS
async def test_a_closed_connection(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        for driver in of(storage_url):
            given = await connected(driver, storage_url, stack)
            await given.run(BEGIN[driver])
            await given.close()
            await refused(app, given.connection, "cannot be used here")


@SERVERS
async def test_a_connection_without_a_transaction(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        for driver in of(storage_url):
            given = await connected(driver, storage_url, stack)
            await refused(app, given.connection, "transaction")


@SERVERS
async def test_a_transaction_that_can_only_read(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        for driver in of(storage_url):
            given = await connected(driver, storage_url, stack)
            if driver in SQLITE:
                await given.run("pragma query_only = on")
                await given.run("begin")
            else:
                await given.run(READ_ONLY[driver])
            await refused(app, given.connection, "can only read; begin a transaction that may write")
            await given.run("rollback")
            if driver in SQLITE:
                await given.run("pragma query_only = off")
            await given.run(BEGIN[driver])
            await app.start(greet, "ann", session=given.connection)
            await given.run("rollback")


@SERVERS
async def test_two_calls_at_once_on_one_connection(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        for driver in of(storage_url):
            given = await connected(driver, storage_url, stack)
            await given.run(BEGIN[driver])
            calls = [app.start(greet, f"ann {number}", session=given.connection) for number in range(3)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            wrong = [answer for answer in answers if isinstance(answer, BaseException)]
            assert len(wrong) <= 2
            for error in wrong:
                assert isinstance(error, UsageError), driver
                assert "await one call after the other" in str(error)
            await given.run("rollback")
    assert (await app.list_instances()).instances == []


@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_a_connection_with_a_statement_under_way(app: Romancy, storage_url: str) -> None:
    sleeps = "select pg_sleep(0.5)" if kind_of(storage_url) == "postgresql" else "select sleep(0.5)"
    async with AsyncExitStack() as stack:
        for driver in of(storage_url):
            if driver not in ("asyncpg", "aiomysql"):
                continue  # psycopg waits by itself, the others block
            given = await connected(driver, storage_url, stack)
            await given.run(BEGIN[driver])
            under_way = asyncio.create_task(given.run(sleeps))
            await asyncio.sleep(0.1)
            with pytest.raises(UsageError, match="another statement is under way"):
                await app.start(greet, "ann", session=given.connection)
            await under_way
            await app.start(greet, "ann", session=given.connection)
            await given.run("rollback")


@pytest.mark.backends("mysql", "mariadb")
async def test_a_connection_with_a_result_that_is_not_read(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        one = await connected("pymysql", storage_url, stack)
        await one.run("start transaction")
        cursor = one.connection.cursor(pymysql.cursors.SSCursor)
        cursor.execute("select 1 union all select 2")
        await refused(app, one.connection, "not read to its end")
        cursor.fetchall()
        cursor.close()
        other = await connected("aiomysql", storage_url, stack)
        await other.run("start transaction")
        awaited = await other.connection.cursor(aiomysql.SSCursor)
        await awaited.execute("select 1 union all select 2")
        await refused(app, other.connection, "not read to its end")
        await awaited.fetchall()
        await awaited.close()


@pytest.mark.backends("postgres")
async def test_a_transaction_in_which_a_statement_failed(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        for driver in POSTGRES:
            given = await connected(driver, storage_url, stack)
            await given.run("begin")
            with pytest.raises(Exception, match="nosuch"):
                await given.run("select nosuch")
            await refused(app, given.connection, "in which a statement has failed; roll it back and begin again")


@pytest.mark.backends("postgres")
async def test_a_connection_in_pipeline_mode(app: Romancy, storage_url: str) -> None:
    async with AsyncExitStack() as stack:
        given = await connected("psycopg async", storage_url, stack)
        await given.run("begin")
        async with given.connection.pipeline():
            await refused(app, given.connection, "in pipeline mode; leave the pipeline first")
        await app.start(greet, "ann", session=given.connection)
        await given.run("rollback")
        blocking = await connected("psycopg", storage_url, stack)
        await blocking.run("begin")
        with blocking.connection.pipeline():
            await refused(app, blocking.connection, "in pipeline mode; leave the pipeline first")


@pytest.mark.backends("sqlite")
async def test_a_connection_that_was_opened_to_read(app: Romancy, storage_url: str) -> None:
    path = f"/{parse_url(storage_url).path.lstrip('/')}"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        await refused(app, connection, "can only read")


@SERVERS
async def test_a_session_of_sqlalchemy_that_can_only_read(app: Romancy, storage_url: str) -> None:
    awaits, blocks = DRIVERS[kind_of(storage_url)]
    begin = {"sqlite": "pragma query_only = on", "postgresql": "set transaction read only"}.get(kind_of(storage_url))
    options: dict[str, Any] = {} if begin else {"connect_args": {"init_command": "set session transaction read only"}}
    one = create_async_engine(sqlalchemy_url(storage_url, awaits), **options)
    async with AsyncSession(one) as session:
        if begin:
            await session.execute(text(begin))
        await refused(app, session, "can only read")
    await one.dispose()
    two = create_engine(sqlalchemy_url(storage_url, blocks), **options)
    with two.connect() as connection:
        if begin:
            connection.execute(text(begin))
        await refused(app, connection, "can only read")
        connection.rollback()
    two.dispose()


@SERVERS
async def test_two_calls_at_once_on_one_session_of_sqlalchemy(app: Romancy, storage_url: str) -> None:
    engine = create_async_engine(sqlalchemy_url(storage_url, DRIVERS[kind_of(storage_url)][0]))
    async with AsyncSession(engine) as session:
        calls = [app.start(greet, f"ann {number}", session=session) for number in range(3)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, UsageError) for answer in answers if isinstance(answer, BaseException)), answers
        await session.rollback()
    await engine.dispose()
    assert (await app.list_instances()).instances == []

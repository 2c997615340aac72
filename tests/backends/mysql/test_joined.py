"""Joining a caller's transaction: on which connections, and that the caller keeps control of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from pymysql.constants import CLIENT

from romancy.errors import UsageError
from romancy.storage.records import Delivered, Outcome
from romancy_conformance.contract.building import append, delivery, start, step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiomysql

    from romancy_conformance.contract.building import Actor
    from romancy_mysql._store import MySQLStore

    Theirs = Callable[..., Awaitable[aiomysql.Connection]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


async def test_a_start_commits_with_the_callers_work_or_not_at_all(store: MySQLStore, theirs: Theirs) -> None:
    connection = await theirs()
    cursor = await connection.cursor()
    await cursor.execute("create table orders (id varchar(20) primary key)")
    kept, dropped = start(), start()

    for item, end in ((dropped, connection.rollback), (kept, connection.commit)):
        await cursor.execute("insert into orders values (%s)", (item.instance_id[-8:],))
        async with store.services.sessions.join(connection) as session:
            assert session.native is connection
            assert await session.commit(item) is Outcome.ACCEPTED
        assert await store.read(item.instance_id) is None
        await end()

    assert await store.read(dropped.instance_id) is None
    assert await store.read(kept.instance_id) is not None
    assert await cursor.execute("select * from orders") == 1


async def test_what_was_committed_after_the_callers_snapshot_is_seen(store: MySQLStore, theirs: Theirs) -> None:
    """REPEATABLE READ is the servers' default: a plain read would show the caller's snapshot."""
    connection = await theirs()
    cursor = await connection.cursor()
    await cursor.execute("select 1 from information_schema.tables limit 1")
    await connection.begin()
    await cursor.execute("select count(*) from romancy_instances")
    item = start()
    await store.commit([item])

    async with store.services.sessions.join(connection) as session:
        assert await session.commit(start(item.instance_id)) is Outcome.EXISTS
        assert await session.commit(item) is Outcome.ACCEPTED
    await connection.commit()


async def test_mail_joins_too(store: MySQLStore, actor: Actor, theirs: Theirs) -> None:
    sender, target = await actor.begin(), await actor.begin()
    connection = await theirs()
    await connection.begin()
    async with store.services.sessions.join(connection) as session:
        item = append(sender, 2, deliveries=(delivery(target), delivery("nobody")))
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED
    await connection.commit()

    cursor = await connection.cursor()
    assert await cursor.execute("select * from romancy_inbox where instance_id = %s", (target.instance_id,)) == 1


async def test_a_connection_without_a_transaction_cannot_be_joined(store: MySQLStore, theirs: Theirs) -> None:
    connection = await theirs(autocommit=True)

    with pytest.raises(UsageError, match="has no transaction open"):
        async with store.services.sessions.join(connection):
            pass

    await connection.begin()
    async with store.services.sessions.join(connection) as session:
        assert await session.commit(start()) is Outcome.ACCEPTED
    await connection.rollback()


async def test_a_connection_that_counts_found_rows(store: MySQLStore, actor: Actor, theirs: Theirs) -> None:
    """A6: a row that is there already must not count as one that was written, nor an UPDATE that changed nothing."""
    connection = await theirs(client_flag=CLIENT.FOUND_ROWS)
    begun = await actor.begin()  # before the transaction: its duplicates lock gaps, in which nobody else can insert
    await connection.begin()
    item, mail = start(body=b"on duplicate key update life = 1"), delivery(begun, dedupe="once")
    async with store.services.sessions.join(connection) as session:
        assert await session.commit(item) is Outcome.ACCEPTED
        assert await session.commit(start(item.instance_id)) is Outcome.EXISTS
        assert await session.send([mail]) == [Delivered.ACCEPTED]
        assert await session.send([mail]) == [Delivered.DUPLICATE]
        with pytest.raises(UsageError, match="FOUND_ROWS"):
            await session.commit(step(begun, 2), worker=actor.token)
    await connection.commit()

    found = await store.read(item.instance_id)
    assert found is not None
    assert found.instance.life == item.life


async def test_a_session_in_which_our_statements_would_mean_something_else_is_refused(
    store: MySQLStore, theirs: Theirs
) -> None:
    for setting, reason in {
        "set session sql_mode = ''": "not in strict mode",
        "set session sql_mode = 'TRADITIONAL,NO_BACKSLASH_ESCAPES'": "NO_BACKSLASH_ESCAPES",
        "set names gbk": "character set gbk",
    }.items():
        connection = await theirs()
        cursor = await connection.cursor()
        await cursor.execute(setting)

        with pytest.raises(UsageError, match=reason):
            async with store.services.sessions.join(connection):
                pass


async def test_another_current_database_is_no_obstacle(store: MySQLStore, theirs: Theirs) -> None:
    connection = await theirs(db="information_schema")
    item = start()

    async with store.services.sessions.join(connection) as session:
        assert await session.commit(item) is Outcome.ACCEPTED
    await connection.commit()

    assert await store.read(item.instance_id) is not None


async def test_a_connection_to_another_server_is_refused(store: MySQLStore, theirs: Theirs) -> None:
    """Two connections to one server answer this query alike; with the other query, they look like two servers."""
    store.database.engine = structs.replace(store.database.engine, place=b"select connection_id()")
    connection = await theirs()
    await connection.begin()

    with pytest.raises(UsageError, match="to another server"):
        async with store.services.sessions.join(connection):
            pass


async def test_mail_for_what_was_started_after_the_callers_snapshot(
    store: MySQLStore, actor: Actor, theirs: Theirs
) -> None:
    """REPEATABLE READ is the server's default: the caller does not see the instance, although it exists."""
    connection = await theirs()
    await connection.begin()
    await (await connection.cursor()).execute("select * from romancy_instances")
    late = await actor.begin()

    async with store.services.sessions.join(connection) as session:
        assert await session.send([delivery(late), delivery("nobody")]) == [Delivered.ACCEPTED, Delivered.UNKNOWN]
    await connection.commit()


async def test_mail_is_counted_once_the_caller_has_committed(store: MySQLStore, actor: Actor, theirs: Theirs) -> None:
    target = await actor.begin()
    connection = await theirs()
    await connection.begin()
    async with store.services.sessions.join(connection) as session:
        await session.send([delivery(target), delivery(target)])
    history = await store.read(target.instance_id)
    assert history is not None
    assert history.instance.signals == 0
    await connection.commit()

    async with asyncio.timeout(60):
        while history is not None and history.instance.signals == 0:
            await store.wait_for_work(1)
            history = await store.read(target.instance_id)
    assert history is not None
    assert history.instance.signals == 2


async def test_something_that_is_no_connection_is_refused(store: MySQLStore) -> None:
    with pytest.raises(UsageError, match=r"aiomysql or PyMySQL inside a transaction, .* not str"):
        async with store.services.sessions.join("connection"):
            pass


async def test_a_savepoint_of_a_joined_session_fails_alone(store: MySQLStore, theirs: Theirs) -> None:
    connection = await theirs()
    cursor = await connection.cursor()
    await cursor.execute("create table orders (id integer primary key)")

    async def fail() -> None:
        async with session.savepoint():
            await session.execute("insert into orders values (%s)", 2)
            raise LookupError("mine")

    async with store.services.sessions.join(connection) as session:
        await session.execute("insert into orders values (1)")
        with pytest.raises(LookupError):
            await fail()
        assert await session.fetch_all("select id from orders") == [{"id": 1}]
    await connection.commit()

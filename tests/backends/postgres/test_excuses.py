"""Which errors in a session are not charged to the activity, by `execute` or by the native object; and which are."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING

import asyncpg
import pytest

from romancy import Romancy, WorkflowContext, WorkflowFailedError, activity, activity_context, workflow
from romancy.errors import StorageUnavailableError
from romancy.storage.records import Worker
from romancy_conformance.contract.building import LEASE, start, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_postgres._connection import SessionConnection
    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

NOBODYS = ["40001", "40P01", "55P03", "25006", "53100", "53300", "57P03", "58030", "08006"]
USERS = ["57014", "53200", "53400", "54001", "58P01", "23505", "22012", "42601", "P0001", "XX000"]
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@pytest.fixture(autouse=True)
async def fail(connection: asyncpg.Connection) -> None:
    """A function that fails in a given way."""
    await connection.execute(
        "create function fail(state text) returns integer language plpgsql as "
        "$$ begin raise exception 'as told' using errcode = state; end $$"
    )


async def by_execute(native: asyncpg.Connection, state: str) -> None:
    await native.execute(f"select fail('{state}')")


async def by_fetch(native: asyncpg.Connection, state: str) -> None:
    await native.fetchval("select fail($1)", state)


async def by_statement(native: asyncpg.Connection, state: str) -> None:
    statement = await native.prepare("select fail($1)")
    await statement.fetch(state)


async def by_cursor(native: asyncpg.Connection, state: str) -> None:
    async for _ in native.cursor("select fail($1)", state):
        pass


async def by_many(native: asyncpg.Connection, state: str) -> None:
    await native.executemany("select fail($1)", [(state,)])


async def by_copy(native: asyncpg.Connection, state: str) -> None:
    await native.copy_from_query("select fail($1)", state, output=BytesIO())


async def in_a_part(native: asyncpg.Connection, state: str) -> None:
    async with native.transaction():
        await by_fetch(native, state)


WAYS = [by_execute, by_fetch, by_statement, by_cursor, by_many, by_copy, in_a_part]


async def test_only_an_error_that_is_not_the_users_is_unavailable(store: PostgresStore) -> None:
    for state in NOBODYS:
        for call in ("execute", "fetch_all"):
            async with store.services.sessions.begin() as session:
                with pytest.raises(StorageUnavailableError, match=state):
                    await getattr(session, call)("select fail($1)", state)
    for state in USERS:
        async with store.services.sessions.begin() as session:
            with pytest.raises(asyncpg.PostgresError) as raised:
                await session.execute("select fail($1)", state)
        assert raised.value.sqlstate == state


async def test_the_native_objects_errors_are_known_whatever_raised_them(store: PostgresStore) -> None:
    for way in WAYS:
        for state, nobodys in (("40P01", True), ("25006", True), ("57014", False), ("23505", False)):
            async with store.services.sessions.begin() as session:
                with pytest.raises(asyncpg.PostgresError) as raised:
                    await way(session.native, state)
                excuse = session.excuse(raised.value)
                assert nobodys == (excuse is not None), (way.__name__, state)
                assert excuse is None or state in str(excuse)


@activity
async def break_a_deferred_constraint() -> None:
    attempts.append("made")
    session = await activity_context().session()
    await session.execute("insert into parts values ('a', 'nobody')")


@workflow
async def breaks_a_deferred_constraint(ctx: WorkflowContext) -> None:
    await break_a_deferred_constraint()


attempts: list[str] = []


async def test_what_breaks_at_commit_fails_its_activity(storage_url: str, connection: asyncpg.Connection) -> None:
    """The activity causes it and would cause it again, so it is not retried for ever."""
    attempts.clear()
    await connection.execute(
        "create table parts (k text primary key, parent text references parts deferrable initially deferred)"
    )

    async with Romancy(storage_url, workflows=[breaks_a_deferred_constraint]) as app:
        handle = await app.start(breaks_a_deferred_constraint)
        with pytest.raises(WorkflowFailedError, match="refused at COMMIT"):
            await handle.result(timeout=60)

    assert ["made"] == attempts
    assert 0 == await connection.fetchval("select count(*) from parts")


async def test_errors_of_other_connections_are_their_users(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    async with store.services.sessions.begin() as session:
        with pytest.raises(asyncpg.DeadlockDetectedError) as raised:
            await by_fetch(connection, "40P01")
        assert session.excuse(raised.value) is None
        assert session.excuse(ConnectionResetError("of something else")) is None
        assert session.excuse(ValueError("of the user's")) is None
        await session.native.fetch("select 1")


async def test_a_lost_connection_excuses_what_was_asked_of_it_and_nothing_else(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    async with store.services.sessions.begin() as session:
        ended = await connection.fetchval("select pg_terminate_backend($1)", session.native.get_server_pid())
        with pytest.raises(LOST) as raised:
            await session.native.fetch("select pg_sleep(60)")
        with pytest.raises(LOST) as again:
            await session.native.fetch("select 1")

        assert ended
        assert session.excuse(raised.value) is not None
        assert session.excuse(again.value) is not None
        assert session.excuse(ValueError("of the user's")) is None


async def test_a_connection_that_ends_while_it_is_lent_is_nobodys_fault_and_keeps_no_place(
    open_store: Callable[..., Awaitable[PostgresStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store("pool_size=2")
    borrow = store.database.borrow_for_session

    async def too_late() -> SessionConnection:
        connection = await borrow()
        asyncpg.Connection.terminate(connection)
        return connection

    with monkeypatch.context() as ending:
        ending.setattr(store.database, "borrow_for_session", too_late)
        for _ in range(3):
            with pytest.raises(StorageUnavailableError, match="connection is closed"):
                async with store.services.sessions.begin():
                    pytest.fail("there is no transaction")

    async with asyncio.timeout(30), store.services.sessions.begin() as session:
        assert [{"one": 1}] == await session.fetch_all("select 1 as one")


async def test_an_error_of_a_joined_connection_is_not_excused(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    async with connection.transaction(), store.services.sessions.join(connection) as session:
        with pytest.raises(asyncpg.DeadlockDetectedError) as raised:
            await in_a_part(connection, "40P01")
        assert session.excuse(raised.value) is None


def writes(store: PostgresStore) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return a write for each kind of connection and transaction."""

    async def in_session() -> None:
        async with store.services.sessions.begin() as session:
            await session.execute("insert into mine values ('a')")
            await session.commit(start())

    async def natively() -> None:
        async with store.services.sessions.begin() as session:
            try:
                await session.native.execute("insert into mine values ('a')")
            except asyncpg.ReadOnlySQLTransactionError as error:
                excuse = session.excuse(error)
                assert excuse is not None
                raise excuse from error
            await session.commit(start())

    return {
        "a start": lambda: store.commit([start()]),
        "a start with another": lambda: store.commit([start(), start()]),
        "a beat": lambda: store.heartbeat(Worker(token=unique("t"), worker_id="w", lease=LEASE)),
        "in a session": in_session,
        "by the native object": natively,
        "of Romancy's own in a session": lambda: nothing_of_ones_own(store),
    }


async def nothing_of_ones_own(store: PostgresStore) -> None:
    async with store.services.sessions.begin() as session:
        await session.commit(start())


async def is_refused(write: Callable[[], Awaitable[object]]) -> bool:
    """Whether a read-only transaction refuses the write; a connection that has ended meanwhile does not count."""
    while True:
        try:
            await write()
        except StorageUnavailableError as error:
            if "25006" in str(error):
                return True
        else:
            return False


async def test_connections_made_while_the_database_was_read_only_are_not_kept(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    """They would refuse writes for ever, although the database accepts them again."""
    name = await connection.fetchval("select current_database()")
    await connection.execute("create table mine (k text)")
    await connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(60):
        for write in writes(store).values():
            assert await is_refused(write)
        await connection.execute(f'alter database "{name}" reset default_transaction_read_only')
        for write in writes(store).values():
            while await is_refused(write):
                pass  # once for each connection that has not noticed yet
        for write in 3 * list(writes(store).values()):
            assert not await is_refused(write)

"""Sessions on PostgreSQL: the native object is asyncpg's own connection, with an error for what it cannot do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from romancy.errors import StorageUnavailableError, UsageError
from romancy.status import Status
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, settle, start, step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.contract.building import Actor
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]


@pytest.fixture
async def table(connection: asyncpg.Connection) -> str:
    """A user's table."""
    await connection.execute(
        "create table mine (k text primary key, parent text references mine deferrable initially deferred)"
    )
    return "mine"


async def test_the_native_object_is_a_connection(actor: Actor, table: str) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        native: asyncpg.Connection = session.native
        assert isinstance(native, asyncpg.Connection)
        async with native.transaction():
            await native.executemany("insert into mine (k) values ($1)", [("a",), ("b",)])
        part = native.transaction()
        await part.start()
        await native.execute("insert into mine (k) values ('c')")
        await part.rollback()
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    async with actor.store.services.sessions.begin() as session:
        assert await session.fetch_all("select k from mine order by k") == [{"k": "a"}, {"k": "b"}]


async def test_going_back_to_a_savepoint_of_ones_own_is_allowed(actor: Actor) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        for sql in ("rollback to savepoint s", "ROLLBACK WORK TO s", "rollback transaction to savepoint s"):
            await session.execute("savepoint s")
            await session.native.execute(sql)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED


async def test_an_end_that_slipped_through_is_found_out(actor: Actor, table: str) -> None:
    """A9: the guard reads the first words only; the savepoint detects every end."""
    for sql in ("commit", "rollback"):
        begun = await actor.begin()
        async with actor.store.services.sessions.begin() as session:
            await session.execute(f"insert into {table} (k) values ('{sql}')")  # noqa: S608 - names of this test
            await session.native.lender.execute(sql)
            with pytest.raises(UsageError, match="ended by user code"):
                await session.commit(step(begun, 2), worker=actor.token)

        assert len(await full_log(actor.store, begun.instance_id)) == 1, sql


ENDING: dict[str, Callable[[asyncpg.Connection], Awaitable[object]]] = {
    "execute": lambda native: native.execute("  Commit work;"),
    "a comment": lambda native: native.execute("-- why not\nrollback"),
    "end": lambda native: native.execute("/* x */ end"),
    "abort": lambda native: native.execute("abort"),
    "begin": lambda native: native.execute("begin"),
    "start": lambda native: native.execute("start transaction"),
    "prepare transaction": lambda native: native.execute("prepare transaction 'x'"),
    "execute with an argument": lambda native: native.execute("commit", "x"),
    "several": lambda native: native.execute("select 1; /* a /* b */ */ COMMIT"),
    "fetch": lambda native: native.fetch("commit"),
    "fetchval": lambda native: native.fetchval("-- x\nrollback"),
    "executemany": lambda native: native.executemany("commit", [()]),
    "prepare": lambda native: native.prepare("commit"),
    "cursor": lambda native: native.cursor("commit"),
}


async def test_no_method_of_the_native_object_ends_the_transaction(
    actor: Actor, table: str, connection: asyncpg.Connection
) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into mine (k) values ('a')")
        for way, end in ENDING.items():
            with pytest.raises(UsageError, match="savepoint"):
                await end(session.native)
            assert await session.fetch_all("select 'commit' as word, $$; rollback $$ as more")
            assert await connection.fetchval("select count(*) from mine") == 0, f"{way} has not committed"
        for method in ("close", "reset"):
            with pytest.raises(UsageError, match=method):
                await getattr(session.native, method)()
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    async with actor.store.services.sessions.begin() as session:
        assert await session.fetch_all("select k from mine") == [{"k": "a"}]


class Taken:
    """What user code may keep of a native object after its session."""

    def __init__(self, native: asyncpg.Connection) -> None:
        self.native = native

    async def take(self) -> Taken:
        self.statement = await self.native.prepare("insert into mine (k) values ('late')")
        self.transaction = self.native.transaction()
        await self.transaction.start()
        self.cursor = await self.native.cursor("select k from mine")
        self.steps = self.native.cursor("select k from mine").__aiter__()
        self.begun = self.statement.fetch()
        self.sent = self.native.copy_records_to_table("mine", records=[("late",)], columns=["k"])
        return self

    @property
    def uses(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Return each way to use it further."""

        async def begin() -> None:
            await self.native.transaction().start()

        async def listen() -> None:
            await self.native.add_listener("somewhere", print)

        return {
            "statement": self.statement.fetch,
            "statement made in time": lambda: self.begun,
            "copy made in time": lambda: self.sent,
            "cursor": lambda: self.cursor.fetch(1),
            "iteration": self.steps.__anext__,
            "commit of a part": self.transaction.commit,
            "rollback of a part": self.transaction.rollback,
            "new transaction": begin,
            "execute": lambda: self.native.execute("insert into mine (k) values ('late')"),
            "executemany": lambda: self.native.executemany("insert into mine (k) values ($1)", [("late",)]),
            "prepare": lambda: self.native.prepare("insert into mine (k) values ('late')"),
            "copy": lambda: self.native.copy_records_to_table("mine", records=[("late",)], columns=["k"]),
            "listen": listen,
            "codec": lambda: self.native.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore"),
            "reset": self.native.reset,
            "close": self.native.close,
        }


async def test_nothing_taken_from_the_native_object_outlives_the_session(
    actor: Actor, table: str, open_store: Open
) -> None:
    """The connection serves another session, and objects kept from it reach neither it nor another transaction."""
    store = await open_store("pool_size=2")
    async with store.services.sessions.begin() as session:
        (before,) = await session.fetch_all("select pg_backend_pid() as pid")
        taken = await Taken(session.native).take()

    async with store.services.sessions.begin() as session:
        assert [before] == await session.fetch_all("select pg_backend_pid() as pid"), "one connection serves all"
        for use in taken.uses.values():
            with pytest.raises(UsageError, match="ended"):
                await use()
        with pytest.raises(UsageError, match="ended"):
            taken.native.terminate()
        assert taken.native.is_closed()
        assert [] == await session.fetch_all("select k from mine")
        await session.execute("insert into mine (k) values ('a')")
        begun = await actor.begin()
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED


async def test_a_codec_set_on_the_native_object_is_not_met_by_the_next_session(open_store: Open) -> None:
    store = await open_store("pool_size=2")
    async with store.services.sessions.begin() as session:
        native: asyncpg.Connection = session.native
        await native.set_type_codec("json", encoder=str, decoder=lambda _: "theirs", schema="pg_catalog")
        assert [{"it": "theirs"}] == await session.fetch_all("select '[1]'::json as it")

    async with store.services.sessions.begin() as session:
        assert [{"it": "[1]"}] == await session.fetch_all("select '[1]'::json as it")


async def test_a_connection_on_which_a_statement_still_runs_is_lent_to_nobody(open_store: Open) -> None:
    store = await open_store("pool_size=2")
    async with store.services.sessions.begin() as session:
        (before,) = await session.fetch_all("select pg_backend_pid() as pid")
        forgotten = asyncio.create_task(session.native.fetch("select pg_sleep(600)"))
        await asyncio.sleep(0)  # it has begun, and is sent

    async with store.services.sessions.begin() as session:
        assert [before] != await session.fetch_all("select pg_backend_pid() as pid")
    await asyncio.wait([forgotten])
    assert forgotten.exception() is not None


async def test_what_user_code_sets_is_gone_in_the_next_session(open_store: Open) -> None:
    store = await open_store("pool_size=2")
    pids: set[int] = set()
    for _ in range(3):
        async with store.services.sessions.begin() as session:
            (row,) = await session.fetch_all(
                "select current_setting('work_mem') as memory, pg_backend_pid() as pid, "
                "(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks"
            )
            pids.add(row["pid"])
            assert (row["memory"], row["locks"]) == ("4MB", 0)
            await session.execute("set work_mem = '64MB'")
            await session.execute("select pg_advisory_lock(7)")

    assert len(pids) == 1


async def test_a_broken_deferred_constraint_is_the_users_error(actor: Actor, table: str) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into mine (k, parent) values ('a', 'nobody')")
        with pytest.raises(UsageError, match=r"refused at COMMIT: .*foreign key.* nothing is recorded") as told:
            await session.commit(step(begun, 2), worker=actor.token)
        assert "nobody" not in str(told.value)

    assert len(await full_log(actor.store, begun.instance_id)) == 1
    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED


async def test_a_users_mistake_stays_the_drivers_error(store: PostgresStore) -> None:
    async with store.services.sessions.begin() as session:
        with pytest.raises(asyncpg.InterfaceError):
            await session.execute("select $1::text", "a", "b")
    async with store.services.sessions.begin() as session:
        with pytest.raises(asyncpg.UndefinedTableError):
            await session.fetch_all("select * from nothing_here")


async def test_a_session_that_stands_idle_too_long_is_ended_by_the_server(open_store: Open, actor: Actor) -> None:
    """A5: a worker that hangs in the middle of a session does not keep its locks for ever."""
    store = await open_store("session_idle_timeout=0.3")
    begun = await actor.begin()

    async with store.services.sessions.begin() as session:
        closed = asyncio.Event()
        native: asyncpg.Connection = session.native
        native.add_termination_listener(lambda _: closed.set())
        await asyncio.wait_for(closed.wait(), 60)
        with pytest.raises(StorageUnavailableError):
            await session.commit(step(begun, 2), worker=actor.token)

    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
    async with store.services.sessions.begin() as session:
        assert await session.fetch_all("select 1 as one") == [{"one": 1}]


async def test_user_statements_wait_for_locks_as_the_server_says(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    """The engine gives up after a second, because it can repeat the call; user code cannot."""
    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all(
            "select current_setting('lock_timeout') as wait, current_setting('transaction_isolation') as level"
        )

    assert row == {"wait": await connection.fetchval("show lock_timeout"), "level": "read committed"}


class Joining:
    """A caller with its own pool, as in any application."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.pool = asyncpg.create_pool(
            host=parts.hostname,
            port=parts.port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path[1:],
            min_size=1,
            max_size=2,
        )


async def test_what_joined_a_transaction_wakes_others_when_that_is_committed(
    store: PostgresStore, storage_url: str
) -> None:
    await settle(store, 0.1)
    waiting = asyncio.create_task(store.wait_for_work(30))
    kept, dropped = start(), start()

    async with Joining(storage_url).pool as pool, pool.acquire() as caller:
        undone = caller.transaction()
        await undone.start()
        async with store.services.sessions.join(caller) as session:
            assert await session.commit(dropped) is Outcome.ACCEPTED
        await undone.rollback()
        async with caller.transaction():
            async with store.services.sessions.join(caller) as session:
                assert await session.commit(kept) is Outcome.ACCEPTED
            assert await store.read(kept.instance_id) is None

        woken = await asyncio.wait_for(waiting, 28)

    assert woken is not None
    assert await store.read(kept.instance_id) is not None
    assert await store.read(dropped.instance_id) is None


async def test_mail_posted_in_a_joined_session_is_counted_after_its_commit(
    actor: Actor, store: PostgresStore, connection: asyncpg.Connection
) -> None:
    sender, target = await actor.begin(), await actor.begin()
    await actor.write(append(target, 2, change=change(Status.WAITING, release=True)))

    async with connection.transaction(), store.services.sessions.join(connection) as session:
        item = append(sender, 2, deliveries=(delivery(target),))
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    claimed = await actor.claim()
    while not claimed:
        await store.wait_for_work(1)
        claimed = await actor.claim()
    assert [one.instance_id for one in claimed] == [target.instance_id]


async def test_joining_needs_a_connection_with_a_transaction(
    store: PostgresStore, connection: asyncpg.Connection
) -> None:
    for join, reason in ((connection, "without a transaction"), (object(), "asyncpg.Connection")):
        with pytest.raises(UsageError, match=reason):
            async with store.services.sessions.join(join):
                pass


async def test_an_earlier_copy_of_the_commit_keeps_the_writes_out(actor: Actor, table: str) -> None:
    """The nonce is already in the log: the first copy's writes stay, and this one's are not added."""
    begun = await actor.begin()
    item = step(begun, 2)
    for _ in range(2):
        async with actor.store.services.sessions.begin() as session:
            await session.execute("insert into mine (k) select 'k' || count(*) from mine")
            assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    async with actor.store.services.sessions.begin() as session:
        assert await session.fetch_all("select k from mine") == [{"k": "k0"}]


async def test_a_store_is_closed_right_after_a_joined_transaction(
    actor: Actor, open_store: Open, connection: asyncpg.Connection
) -> None:
    """The work after the caller's commit is done or silently abandoned: no task is left that fails later."""
    for _ in range(15):
        store = await open_store()
        target = await actor.begin()
        async with connection.transaction(), store.services.sessions.join(connection) as joined:
            await joined.send([delivery(target)])
        await store.close()
        await asyncio.sleep(0)

"""Sessions: the native object cannot end the transaction, and the store detects what the server ends by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiomysql
import pymysql.err
import pytest

from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import full_log, step
from romancy_mysql._sql import Statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.contract.building import Actor
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


@pytest.fixture(autouse=True)
async def things(wire: Wire) -> None:
    """A user's table."""
    await wire.run(b"create table things (k varchar(20) primary key, n integer not null) engine = InnoDB", "test")
    await wire.run(b"insert into things values ('a', 1), ('b', 1)", "test")


async def call(method: Callable[..., Any], *arguments: object) -> None:
    """Call a method of the driver, which may be a coroutine."""
    answer = method(*arguments)
    if answer is not None:
        await answer


_WAITING = (
    b"select count(*) from information_schema.innodb_trx t join information_schema.processlist p "
    b"on p.id = t.trx_mysql_thread_id where p.db = database() and t.trx_state = 'LOCK WAIT'"
)
_ANEW = 0.2
"""Seconds between two looks: InnoDB shows its transactions of a while ago as long as it is asked each 0.1 s."""


async def waits_for_a_lock(store: MySQLStore) -> bool:
    """Whether a transaction in this database does."""
    async with store.database.work.borrow() as other:
        (answer,) = await other.run(_WAITING, "test")
    return int(answer.rows[0][0]) > 0


async def count(wire: Wire, condition: str = "true") -> int:
    (answer,) = await wire.run(f"select count(*) from things where {condition}".encode(), "test")  # noqa: S608
    return int(answer.rows[0][0])


async def test_the_native_object_is_the_drivers_and_writes_in_the_transaction(actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        assert isinstance(session.native, aiomysql.Connection)
        cursor = await session.native.cursor()
        await cursor.executemany("insert into things (k, n) values (%s, %s)", [("c", 1), ("d", 2)])
        assert await count(wire) == 2
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await count(wire) == 4


METHODS: dict[str, tuple[object, ...]] = {
    "commit": (),
    "rollback": (),
    "begin": (),
    "close": (),
    "ensure_closed": (),
    "autocommit": (True,),
    "select_db": ("mysql",),
    "kill": (1,),
    "ping": (True,),
}
"""Methods of the driver's connection that may end a transaction, with arguments for them."""


async def test_the_native_object_cannot_end_the_transaction(actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into things values ('c', 1)")
        for method, arguments in METHODS.items():
            with pytest.raises(UsageError):
                await call(getattr(session.native, method), *arguments)
            assert await count(wire) == 2, f"{method} has not committed"
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await count(wire) == 3


ENDINGS = [
    "select 1; COMMIT",
    "# why not\ncommit",
    "/*!50000 commit */",
    "/*M! commit */",
    "start transaction",
    "set autocommit = 1",
    "SET @a = 1, @@session.AutoCommit=ON",
    "xa start 'x'",
    "lock tables things write",
    "unlock tables",
    "prepare s from 'commit'",
    "execute immediate 'commit'",
]


async def test_what_would_end_the_transaction_is_refused_however_it_is_said(actor: Actor, wire: Wire) -> None:
    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into things values ('c', 1)")
        cursor = await session.native.cursor()
        for sql in ENDINGS:
            with pytest.raises(UsageError, match="savepoint"):
                await session.execute(sql)
            with pytest.raises(UsageError, match="savepoint"):
                await cursor.execute(sql)
            assert await count(wire) == 2, sql

    assert await count(wire) == 2


async def test_a_value_that_looks_like_an_end_is_none(actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    texts = ["commit", "; commit", "'; commit; --", '"; rollback', "/*! commit */", "`commit`"]

    async with actor.store.services.sessions.begin() as session:
        for text in texts:
            await session.execute("insert into things values (%s, 1)", text)
            await session.execute("savepoint mine")
            await session.execute("rollback work to savepoint mine")
            await session.execute("update things set n = 2 where k = %s -- commit", text)
            assert await count(wire) == 2, text
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await count(wire, "n = 2") == len(texts)


async def test_cursors_side_by_side_are_refused(actor: Actor, wire: Wire) -> None:
    """Their answers could not be distinguished."""
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        one: Any = await session.native.cursor()
        two: Any = await session.native.cursor()
        calls: list[Any] = [one.execute("select sleep(0)"), two.execute("select 2"), session.execute("select 3")]
        answers: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        assert [1, UsageError, UsageError] == [answers[0], *map(type, answers[1:])]
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED


async def test_the_native_object_is_of_no_use_after_the_session(actor: Actor) -> None:
    async with actor.store.services.sessions.begin() as session:
        native = session.native
    for use in (native.cursor, native.close):
        with pytest.raises(UsageError, match="has ended"):
            use()
    assert (await actor.store.heartbeat(actor.worker)).alive


async def test_a_failure_in_the_native_object_dooms_the_session_too(actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into things values ('c', 1)")
        cursor = await session.native.cursor()
        with pytest.raises(pymysql.err.IntegrityError):
            await cursor.execute("insert into things values ('a', 1)")
        with pytest.raises(UsageError, match="the failure was swallowed"):
            await session.commit(step(begun, 2), worker=actor.token)

    assert await count(wire) == 2


async def test_a_lock_that_is_waited_for_too_long_is_no_fault_of_the_activity(actor: Actor, wire: Wire) -> None:
    """A9: the server rolls back the statement alone; the session says "try again" and commits nothing partial."""
    begun = await actor.begin()
    await wire.run(b"start transaction", "test")
    await wire.run(b"update things set n = 2 where k = 'a'", "test")

    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into things values ('c', 1)")
        with pytest.raises(StorageUnavailableError, match="it can be tried again"):
            await session.execute("update things set n = 3 where k = 'a'")
        with pytest.raises(UsageError):
            await session.commit(step(begun, 2), worker=actor.token)

    await wire.run(b"rollback", "test")
    assert await count(wire) == 2


async def test_a_beginning_that_waits_too_long_is_no_fault_of_the_activity(actor: Actor) -> None:
    """A node of Galera that is cut off waits there for what the others have committed."""
    store: Any = actor.store
    waits = Statement("begin", b"signal sqlstate 'HY000' set mysql_errno = 1205; start transaction")
    begin, store.database.begin = store.database.begin, waits
    with pytest.raises(StorageUnavailableError, match=r"beginning waited too long.*can be tried again"):
        async with store.services.sessions.begin():
            pass

    store.database.begin = begin
    async with store.services.sessions.begin() as session:
        assert [{"one": 1}] == await session.fetch_all("select 1 as one")


async def test_a_swallowed_deadlock_does_not_go_on_without_its_transaction(
    actor: Actor, store: MySQLStore, wire: Wire
) -> None:
    """A9: the victim's transaction is gone, so later statements would commit one by one."""
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        await session.execute("update things set n = 5 where k = 'a'")
        await wire.run(b"start transaction", "test")
        await wire.run(b"insert into things values ('x', 1), ('y', 1), ('z', 1)", "test")  # the heavier one survives
        await wire.run(b"update things set n = 6 where k = 'b'", "test")
        crossing = asyncio.create_task(wire.run(b"update things set n = 6 where k = 'a'", "test"))
        async with asyncio.timeout(60):
            while not await waits_for_a_lock(store):  # noqa: ASYNC110 - asked of the server
                await asyncio.sleep(_ANEW)
        try:
            async with session.savepoint():
                await session.execute("update things set n = 5 where k = 'b'")
            lost = False
        except StorageUnavailableError:
            lost = True
        await asyncio.wait({crossing})
        crossing.exception()
        assert lost
        with pytest.raises(UsageError):
            await session.commit(step(begun, 2), worker=actor.token)

    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_a_connection_that_dies_takes_the_session_with_it(actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("select connection_id() as id")
        await session.execute("insert into things values ('c', 1)")
        await wire.run(b"kill %d" % row["id"], "test")
        with pytest.raises(StorageUnavailableError):
            await session.execute("select 1")
        with pytest.raises((StorageUnavailableError, UsageError)):
            await session.commit(step(begun, 2), worker=actor.token)

    assert await count(wire) == 2
    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED


async def test_settings_of_the_users_do_not_change_what_our_statements_mean(actor: Actor) -> None:
    begun = await actor.begin(body=b"[1]")
    body = rb'["it\'s", "\\", "\'; drop table things; -- "]'
    async with actor.store.services.sessions.begin() as session:
        await session.execute("set session sql_mode = 'NO_BACKSLASH_ESCAPES', time_zone = '+09:00'")
        await session.execute("set names latin1")
        await session.execute("create temporary table somewhere (n integer)")
        await session.execute("use information_schema")
        assert await session.commit(step(begun, 2, body), worker=actor.token) is Outcome.ACCEPTED

    rows = await full_log(actor.store, begun.instance_id)
    assert [row.body for row in rows] == [b"[1]", body]
    assert abs(rows[1].at - rows[0].at) < 60_000_000


async def test_percent_signs_are_the_drivers_placeholders_only_with_parameters(actor: Actor) -> None:
    async with actor.store.services.sessions.begin() as session:
        assert await session.fetch_all("select k from things where k like 'a%' order by k") == [{"k": "a"}]
        assert await session.fetch_all("select k from things where k like %s", "b%") == [{"k": "b"}]


async def test_a_session_that_sleeps_is_ended_by_the_server(open_store: Open, wire: Wire, actor: Actor) -> None:
    """A frozen worker does not keep its locks for ever: the server ends an idle connection."""
    store = await open_store("idle_timeout=5")
    begun = await actor.begin()
    async with store.services.sessions.begin() as session:
        await session.execute("update things set n = 7 where k = 'a'")
        for _ in range(100):
            await asyncio.sleep(0.1)
            try:
                await wire.run(b"update things set n = 8 where k = 'a'", "test")
                break
            except Exception:  # noqa: BLE001, S112 - still locked
                continue
        with pytest.raises(StorageUnavailableError):
            await session.commit(step(begun, 2), worker=actor.token)

    assert await count(wire, "n = 8") == 1

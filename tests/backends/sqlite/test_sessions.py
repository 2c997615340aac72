"""Sessions on SQLite: a user's transaction that only Romancy can end, whatever the user's library does."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.errors import UsageError
from romancy.storage.records import Outcome, Worker
from romancy_conformance.contract.building import append, full_log, start, step
from romancy_sqlite._driver import sqlite3
from tests.backends.sqlite.dogs import DOG, contents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]
    Write = Callable[[Any], object]

pytestmark = pytest.mark.anyio


OTHER = Worker(token="other", worker_id="other", lease=1_000_000)
ENDINGS: dict[str, Write] = {
    "db.commit": lambda db: db.commit(),
    "db.rollback": lambda db: db.rollback(),
    "db.close": lambda db: db.close(),
    "with db": lambda db: db.__exit__(None, None, None),
    "db.begin": lambda db: db.begin(),
    "conn.commit": lambda db: db.conn.commit(),
    "conn.rollback": lambda db: db.conn.rollback(),
    "conn.close": lambda db: db.conn.close(),
    "with conn": lambda db: db.conn.__enter__(),
    "conn.executescript": lambda db: db.conn.executescript("select 1"),
    "cursor.executescript": lambda db: db.conn.cursor().executescript("select 1"),
    "COMMIT": lambda db: db.execute("COMMIT"),
    "end transaction": lambda db: db.execute(" /* x */ end transaction"),
    "rollback": lambda db: db.execute("rollback"),
    "begin": lambda db: db.execute("begin immediate"),
    "executescript commit": lambda db: db.executescript("update dogs set age = 66; commit;"),
    "our savepoint": lambda db: db.execute("release romancy_session"),
    "back to our savepoint": lambda db: db.execute("rollback to romancy_session"),
    "the authorizer": lambda db: db.conn.set_authorizer(None),
    "attach": lambda db: db.attach("other", ":memory:"),
}


@pytest.mark.usefixtures("dogs")
async def test_nobody_but_romancy_ends_the_transaction(actor: Actor, path: Path) -> None:
    begun = await actor.begin()
    before = contents(path)

    async with actor.store.services.sessions.begin() as session:
        native: Any = session.native
        native["dogs"].update(1, {"age": 6})
        for name, end in ENDINGS.items():
            with pytest.raises(UsageError, match="session: "):
                end(native)
            assert native.conn.in_transaction, name
            assert before == contents(path), f"{name} has not committed"
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert any("Cleo" in line and "6" in line for line in contents(path))


@pytest.mark.usefixtures("dogs")
async def test_setting_the_isolation_level_does_not_commit(store: SqliteStore, path: Path) -> None:
    """Up to Python 3.11 the assignment commits; from 3.12 on it does not."""
    before = contents(path)

    async with store.services.sessions.begin() as session:
        native: Any = session.native
        native["dogs"].delete(1)
        with suppress(sqlite3.DatabaseError):
            session.native.conn.isolation_level = None
        assert session.native.conn.in_transaction

    assert before == contents(path)


LOSSES: dict[str, str] = {
    "or rollback": "insert or rollback into dogs (id) values (1)",
    "raise(rollback)": "insert into trapped (id) values (1)",
}


@pytest.mark.usefixtures("dogs")
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
async def test_after_a_lost_transaction_nothing_more_is_done(actor: Actor, path: Path, loss: str) -> None:
    """A9: after a swallowed rollback, statements would commit one at a time."""
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        session.native.executescript(
            "create table trapped (id integer);"
            "create trigger trap before insert on trapped begin select raise(rollback, 'trapped'); end;"
        )
        assert await session.commit(start()) is Outcome.ACCEPTED
    before = contents(path)

    async with actor.store.services.sessions.begin() as session:
        native: Any = session.native
        native["dogs"].insert(DOG | {"id": 2})
        statement = native.conn.execute("select * from dogs")
        with pytest.raises(sqlite3.IntegrityError):
            session.native.conn.execute(loss)
        for after in ("update dogs set age = 99", "select 1", "commit"):
            with pytest.raises(UsageError, match="has been rolled back"):
                session.native.conn.execute(after)
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                sqlite3.Cursor(session.native.conn).execute(after)
        statement.close()
        with pytest.raises(UsageError, match="nothing of it will be kept"):
            await session.commit(step(begun, 2), worker=actor.token)

    assert before == contents(path)
    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_after_its_end_the_native_object_is_dead(store: SqliteStore) -> None:
    async with store.services.sessions.begin() as session:
        native: Any = session.native
        cursor = native.conn.cursor()
        assert await session.commit(start()) is Outcome.ACCEPTED

    for use in (lambda: native.execute("select 1"), lambda: cursor.execute("select 1"), native.table_names):
        with pytest.raises(UsageError, match="it has ended"):
            use()
    with pytest.raises(UsageError, match="it has ended"):
        await session.execute("select 1")


def _odd_row(_cursor: sqlite3.Cursor, _row: tuple[object, ...]) -> dict[str, int]:
    return {"odd": 1}


async def test_what_the_user_sets_on_the_connection_does_not_disturb_the_commit(actor: Actor) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        native: Any = session.native
        native.conn.row_factory = _odd_row
        native.conn.text_factory = bytes
        assert await session.fetch_all("select 1 as one") == [{"one": 1}]
        open_cursor = native.conn.execute("select * from sqlite_master")
        assert open_cursor.fetchone() is not None
        assert await session.commit(append(begun, 2, consumed=()), worker=actor.token) is Outcome.ACCEPTED

    assert len(await full_log(actor.store, begun.instance_id)) == 2


async def test_a_session_may_be_used_from_other_threads(actor: Actor, path: Path) -> None:
    """A sync activity does so, as it runs in a thread."""
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        native: Any = session.native
        await asyncio.to_thread(native["dogs"].insert, DOG)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert any("Cleo" in line for line in contents(path))


async def test_the_event_loop_goes_on_while_a_session_is_open(actor: Actor, store: SqliteStore) -> None:
    """A8: an append of another instance must wait without blocking the loop that the session needs."""
    begun, other = await actor.begin(), await actor.begin()
    waiting: asyncio.Task[Any] | None = None
    turns = 0

    async with store.services.sessions.begin() as session:
        waiting = asyncio.create_task(actor.write(step(other, 2)))
        while turns < 1000:
            await asyncio.sleep(0)
            turns += 1
        assert not waiting.done()
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await waiting is Outcome.ACCEPTED


async def test_a_commit_is_a_beat(actor: Actor, open_store: Open) -> None:
    """A8: no heartbeat could be written while the session was open."""
    begun = await actor.begin()
    other = type(actor)(await open_store(), workflows=actor.workflows)
    await other.register()
    before = await other.see(actor)

    async with actor.store.services.sessions.begin() as session:
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert before.beat + 1 == (await other.see(actor)).beat


async def test_a_session_held_for_long_is_reported(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "romancy.sqlite"):
        async with store.services.sessions.begin() as session:
            await session.execute(
                "with recursive n (i) as (select 1 union all select i + 1 from n limit 3000000) select max(i) from n"
            )
            assert await session.commit(start()) is Outcome.ACCEPTED
        await store.commit([start(), start()])

    assert ["held the file for" in record.message for record in caplog.records] == [True]


async def test_a_session_held_for_too_long_is_ended(open_store: Open, actor: Actor, path: Path) -> None:
    store = await open_store(session_limit=1.5)
    begun = await actor.begin()

    async with store.services.sessions.begin() as session:
        await session.execute("create table mine (id integer)")
        assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
        with pytest.raises(UsageError, match=r"held the file for 1\.5 s"):
            await session.execute("insert into mine values (1)")
        with pytest.raises(UsageError, match=r"held the file for 1\.5 s"):
            session.native.conn.execute("insert into mine values (1)")
        with pytest.raises(UsageError, match=r"held the file for 1\.5 s"):
            await session.commit(step(begun, 3), worker=actor.token)

    assert not any("mine" in line for line in contents(path))


ENDLESS = "with recursive n (i) as (select 1 union all select i + 1 from n) select max(i) from n"


async def test_a_statement_that_runs_for_too_long_is_interrupted(open_store: Open, actor: Actor) -> None:
    store = await open_store(session_limit=1.5)
    begun = await actor.begin()

    async with store.services.sessions.begin() as session:
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            await session.fetch_all(ENDLESS)

    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED


async def test_a_native_statement_that_stops_the_loop_is_interrupted(open_store: Open, actor: Actor) -> None:
    store = await open_store(session_limit=1.5)
    begun = await actor.begin()

    async with store.services.sessions.begin() as session:
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            session.native.conn.execute(ENDLESS)

    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED


LONG = (
    "with recursive n (i) as (select begun() union all select i + 1 from n where i < 30000000) "
    "select ended(max(i)) from n"
)


@pytest.mark.parametrize("how", ["execute", "native, on a thread"])
async def test_a_statement_ends_with_the_block_that_waits_for_it(open_store: Open, actor: Actor, how: str) -> None:
    """An attempt that is stopped during a statement does not hold the file for as long as the statement would run."""
    store, begun = await open_store(), await actor.begin()
    loop, runs, ends = asyncio.get_running_loop(), asyncio.Event(), list[int]()

    def tell() -> int:
        loop.call_soon_threadsafe(runs.set)
        return 0

    async def attempt() -> None:
        async with store.services.sessions.begin() as session:
            connection = session.native.conn
            connection.create_function("begun", 0, tell)
            connection.create_function("ended", 1, ends.append)
            if how == "execute":
                await session.fetch_all(LONG)
            else:
                await asyncio.to_thread(connection.execute, LONG)

    attempted = asyncio.create_task(attempt())
    await runs.wait()
    attempted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempted

    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED
    assert not ends


async def test_a_session_waits_for_the_one_before(store: SqliteStore) -> None:
    order: list[str] = []

    async def hold(name: str) -> Outcome:
        async with store.services.sessions.begin() as session:
            order.append(f"{name} in")
            await session.execute(f"create table {name} (id integer)")
            order.append(f"{name} out")
            return await session.commit(start())

    outcomes = await asyncio.gather(*(hold(f"t{number}") for number in range(5)))

    assert outcomes == [Outcome.ACCEPTED] * 5
    assert order == [f"t{number} {way}" for number in range(5) for way in ("in", "out")]


async def test_a_session_cancelled_while_it_waits_takes_no_turn(store: SqliteStore) -> None:
    async def enter() -> None:
        async with store.services.sessions.begin():
            raise AssertionError("it was cancelled before its turn came")

    async with store.services.sessions.begin() as session:
        waiting = asyncio.create_task(enter())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await session.commit(start()) is Outcome.ACCEPTED

    assert await store.commit([start()]) == [Outcome.ACCEPTED]


@pytest.mark.parametrize("how", ["left", "refused", "committed"])
async def test_the_end_of_a_session_that_was_long_for_the_lease_is_a_heartbeat(
    actor: Actor, open_store: Open, how: str
) -> None:
    """No worker could send a heartbeat meanwhile, and none may find its worker silent before it can send one."""
    begun = await actor.begin()
    worker, other = replace(actor.worker, lease=1), await open_store()
    await actor.store.heartbeat(worker)
    (before,) = (await other.heartbeat(OTHER)).peers

    async with actor.store.services.sessions.begin() as session:
        assert session.excluding
        await session.execute("create table mine (k text)")
        if how != "left":
            expected = Outcome.ACCEPTED if how == "committed" else Outcome.TAKEN
            item = step(begun, 2 if how == "committed" else 1)
            assert expected is await session.commit(item, worker=actor.token)

    (after,) = (await other.heartbeat(OTHER)).peers
    assert before.beat + 1 == after.beat
    assert session.renewed
    async with actor.store.services.sessions.begin() as look:
        tables = await look.fetch_all("select name from sqlite_master where name = 'mine'")
    assert bool(tables) is (how == "committed")


async def test_a_dead_worker_is_not_brought_back_by_a_session(actor: Actor, open_store: Open) -> None:
    worker, other = replace(actor.worker, lease=1), await open_store()
    await actor.store.heartbeat(worker)
    (peer,) = (await other.heartbeat(OTHER)).peers
    await other.takeover(OTHER.token, peer, b"[]", "w")

    async with actor.store.services.sessions.begin() as session:
        await session.execute("select 1")

    assert not (await actor.store.heartbeat(worker)).alive
    assert session.renewed is False

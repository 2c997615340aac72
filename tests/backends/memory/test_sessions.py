"""A session of the store in memory: what others see and do meanwhile, and what is left of it on the one connection."""

# Which connection serves a session is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

import pytest

from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.records import Outcome, Worker
from romancy_conformance.contract.building import append, change, full_log, start, unique
from romancy_sqlite import _memory_turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import MemoryStore

    Open = Callable[[], Awaitable[MemoryStore]]

pytestmark = pytest.mark.anyio

_SOON = 30


def database_of(actor: Actor) -> Any:
    return cast("MemoryStore", actor.store).database


async def tables(actor: Actor) -> None:
    """Make a table of the user's."""
    async with actor.store.services.sessions.begin() as session:
        await session.execute("create table pets (name text)")
        assert await session.commit(start()) is Outcome.ACCEPTED


async def pets(actor: Actor) -> list[str]:
    async with actor.store.services.sessions.begin() as session:
        return [row["name"] for row in await session.fetch_all("select name from pets order by rowid")]


async def test_readers_see_what_was_committed_before_it_and_writers_come_after_it(
    actor: Actor, open_store: Open
) -> None:
    begun, other = await actor.begin(), await open_store()
    done: list[str] = []

    async def write(name: str) -> None:
        await other.commit([start(name)])
        done.append(name)

    first, second = unique(), unique()
    async with actor.store.services.sessions.begin() as session:
        native: Any = session.native
        native.execute("update romancy_instances set workflow_name = 'changed'")
        writing = [asyncio.create_task(write(name)) for name in (first, second)]
        read = await other.read(begun.instance_id)
        assert read is not None
        assert read.instance.workflow_name == "flow"
        assert [] == done
        assert await session.commit(append(begun, 2, change=change()), worker=actor.token) is Outcome.ACCEPTED
    await asyncio.wait_for(asyncio.gather(*writing), _SOON)

    assert [first, second] == done
    read = await other.read(begun.instance_id)
    assert read is not None
    assert read.instance.workflow_name == "changed"


async def test_a_writer_that_gives_up_lets_the_next_one_write(actor: Actor) -> None:
    async with actor.store.services.sessions.begin():
        gone, stays = (asyncio.create_task(actor.store.commit([start()])) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
    assert await asyncio.wait_for(stays, _SOON) == [Outcome.ACCEPTED]
    assert gone.cancelled()


async def test_a_writer_whose_turn_came_when_it_gave_up_lets_the_next_one_write(actor: Actor) -> None:
    floor = database_of(actor).floor
    await floor.take()
    gone, stays = (asyncio.create_task(actor.store.commit([start()])) for _ in range(2))
    await asyncio.sleep(0)
    floor.leave()
    await asyncio.sleep(0)  # the floor is the first one's now, which has not run since
    gone.cancel()

    assert await asyncio.wait_for(stays, _SOON) == [Outcome.ACCEPTED]
    assert not floor.taken


async def test_a_writer_that_is_closed_while_it_waits_takes_the_floor_from_nobody(actor: Actor) -> None:
    floor = database_of(actor).floor
    await floor.take()
    stays = asyncio.create_task(actor.store.commit([start()]))
    await asyncio.sleep(0)
    gone: Any = floor.take()
    gone.send(None)
    gone.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not stays.done()
    floor.leave()

    assert await asyncio.wait_for(stays, _SOON) == [Outcome.ACCEPTED]
    assert not floor.taken


async def test_nothing_is_left_of_a_session_that_is_not_committed(actor: Actor) -> None:
    await tables(actor)
    async with actor.store.services.sessions.begin() as session:
        await session.execute("insert into pets values ('a')")
        session.native["pets"].insert({"name": "b"})
    assert [] == await pets(actor)


async def test_what_a_user_holds_after_the_end_reaches_nothing(actor: Actor) -> None:
    await tables(actor)
    async with actor.store.services.sessions.begin() as session:
        native = session.native
        native["pets"].insert({"name": "a"})
        assert await session.commit(start()) is Outcome.ACCEPTED
        before = ref(database_of(actor)._connection)
        with pytest.raises(UsageError, match="has ended"):
            native.execute("insert into pets values ('b')")
        await actor.begin()  # another writer, while the block is not left yet
    with pytest.raises(UsageError, match="has ended"):
        native.execute("insert into pets values ('c')")
    assert ["a"] == await pets(actor)
    assert database_of(actor)._connection is not before()


async def test_a_session_that_leaves_nothing_behind_changes_no_connection(actor: Actor) -> None:
    await tables(actor)
    connection = ref(database_of(actor)._connection)
    for name in ("a", "b"):
        async with actor.store.services.sessions.begin() as session:
            session.native["pets"].insert({"name": name})
            assert await session.commit(start()) is Outcome.ACCEPTED

    assert ["a", "b"] == await pets(actor)
    await actor.begin()
    assert database_of(actor)._connection is connection()


def _changed(*given: object) -> str:
    return f"changed {given}"


_CHANGES: dict[str, Callable[[Any], object]] = {
    "pragma": lambda db: db.execute("pragma case_sensitive_like = on"),
    "temporary table": lambda db: db.execute("create temp table pets (name text)"),
    "function": lambda db: db.conn.create_function("upper", 1, _changed),
    "rows": lambda db: setattr(db.conn, "row_factory", _changed),
    "texts": lambda db: setattr(db.conn, "text_factory", bytes),
}


@pytest.mark.parametrize("change_of", _CHANGES)
async def test_what_a_session_changes_on_the_connection_ends_with_it(actor: Actor, change_of: str) -> None:
    await tables(actor)
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        session.native["pets"].insert({"name": "a"})
        _CHANGES[change_of](session.native)
        assert await session.commit(append(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert [1, 2] == [row.seq for row in await full_log(actor.store, begun.instance_id)]
    async with actor.store.services.sessions.begin() as session:
        found = await session.fetch_all("select upper(name) as name, 'A' like 'a' as is_like from main.pets")
        assert [{"name": "A", "is_like": 1}] == found
        assert [] == await session.fetch_all("select name from temp.sqlite_master")


async def test_a_statement_on_another_thread_is_interrupted_by_the_end(actor: Actor) -> None:
    endless = "with recursive n(i) as (select begun() union all select i + 1 from n) select max(i) from n"
    begun, ended = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def count(db: Any) -> None:
        try:
            db.execute(endless).fetchall()
        except Exception as error:  # noqa: BLE001 - whatever it is
            errors.append(error)
        ended.set()

    def first() -> int:
        begun.set()
        return 1

    async with actor.store.services.sessions.begin() as session:
        session.native.conn.create_function("begun", 0, first)
        thread = threading.Thread(target=count, args=(session.native,))
        thread.start()
        assert await asyncio.to_thread(begun.wait, _SOON)
    assert await asyncio.to_thread(ended.wait, _SOON)
    thread.join()

    assert "interrupted" in str(errors[0]) or "has ended" in str(errors[0])
    assert await actor.write(start()) is Outcome.ACCEPTED


async def test_it_is_ended_at_its_limit(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor.store.services.sessions, "_limit", 0.05)
    async with actor.store.services.sessions.begin() as session:
        assert await asyncio.wait_for(actor.store.commit([start()]), _SOON) == [Outcome.ACCEPTED]
        with pytest.raises(UsageError, match="kept all other writers waiting"):
            await session.execute("select 1")


async def test_a_loop_that_stood_still_does_not_end_it(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a debugger: the time during which nothing ran does not count."""
    monkeypatch.setattr(_memory_turn, "_STOOD_STILL", 0.1)
    monkeypatch.setattr(actor.store.services.sessions, "_limit", 5.0)
    async with actor.store.services.sessions.begin() as session:
        turn = cast("Any", session)._turn
        turn._ring(asyncio.get_running_loop().time() - 1)
        await session.execute("select 1")
        turn._ring(asyncio.get_running_loop().time())
        with pytest.raises(UsageError, match="for 5 s"):
            await session.execute("select 1")


async def test_closing_ends_its_sessions_and_refuses_who_waits(actor: Actor, open_store: Open) -> None:
    other = await open_store()
    async with actor.store.services.sessions.begin() as session:
        waiting = asyncio.create_task(other.commit([start(), start()]))
        await asyncio.sleep(0)
        await other.close()
        await actor.store.close()
        with pytest.raises(UsageError, match="the store was closed"):
            await session.execute("select 1")
        with pytest.raises(StorageUnavailableError, match="not open"):
            await asyncio.wait_for(waiting, _SOON)


async def test_one_that_waits_for_its_turn_when_its_store_is_closed_is_refused(actor: Actor, open_store: Open) -> None:
    other = await open_store()

    async def late() -> None:
        async with other.services.sessions.begin():
            raise AssertionError

    async with actor.store.services.sessions.begin():
        waiting = asyncio.create_task(late())
        await asyncio.sleep(0)
        await other.close()
    with pytest.raises(UsageError, match="the store was closed"):
        await asyncio.wait_for(waiting, _SOON)
    assert await actor.write(start()) is Outcome.ACCEPTED


async def test_a_long_one_renews_the_lease_of_its_worker(actor: Actor) -> None:
    worker = Worker(token=actor.token, worker_id="w", lease=4)
    await actor.store.heartbeat(worker)
    async with actor.store.services.sessions.begin() as session:
        await session.execute("select 1")
    assert cast("Any", session).renewed is True


async def test_a_connection_to_something_else_is_not_joined(actor: Actor) -> None:
    async with actor.store.services.sessions.begin() as session:
        native = session.native
    with pytest.raises(UsageError, match="has ended"):
        async with actor.store.services.sessions.join(native) as joined:
            await joined.commit(start())
    stranger = type(native)(memory=True)
    stranger.conn.execute("begin immediate")
    with pytest.raises(UsageError, match="another database than this memory store"):
        async with actor.store.services.sessions.join(stranger) as joined:
            await joined.commit(start())
    stranger.conn.close()

"""Sessions in memory that end badly, and writers that go away: nobody else stands still."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy.errors import UsageError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, start, step, unique
from romancy_sqlite import memory_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

_SOON = 5


def half_read(db: Any) -> Any:
    rows = db.execute("select name from pets")
    next(rows)
    return rows


def half_returned(db: Any) -> Any:
    rows = db.execute("insert into pets values ('c'), ('d') returning name")
    next(rows)
    return rows


def blob(db: Any) -> Any:
    return db.conn.blobopen("pets", "name", 1)


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.parametrize("opened", [half_read, half_returned, blob])
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.timeout(20)
async def test_what_a_user_has_half_read_does_not_keep_the_transaction(
    tmp_path: Path, kind: str, opened: Callable[[Any], Any], *, commits: bool
) -> None:
    """Before: ROLLBACK was interrupted while the cursor existed. In memory the process then stood still."""
    store = create_store("memory://" if kind == "memory" else f"sqlite:///{tmp_path}/x.db")
    await store.open()
    async with store.services.sessions.begin() as session:
        await session.execute("create table pets (name text)")
        await session.execute("insert into pets values ('a'), ('b')")
        await session.commit(start())
    async with store.services.sessions.begin() as session:
        kept = opened(session.native)
        if commits:
            assert await session.commit(start()) is Outcome.ACCEPTED
    assert await asyncio.wait_for(store.commit([start()]), _SOON) == [Outcome.ACCEPTED]
    async with store.services.sessions.begin() as session:
        found = [row["name"] for row in await session.fetch_all("select name from pets")]
    assert found == (["a", "b", "c", "d"] if commits and opened is half_returned else ["a", "b"])
    del kept
    await store.close()


@pytest.mark.timeout(20)
async def test_an_isolation_level_ends_with_its_session() -> None:
    """Before: a step was written in a transaction that nobody ended, and the next session stood still for ever."""
    store = memory_store(parse_url("memory://"))
    await store.open()
    actor = await Actor(store, workflows={"flow": "c1"}).register()
    begun = await actor.begin()
    async with store.services.sessions.begin() as session:
        session.native.conn.isolation_level = "IMMEDIATE"
    assert await store.commit([step(begun, 2)], worker=actor.token) == [Outcome.ACCEPTED]
    assert await store.commit([start(), start()]) == [Outcome.ACCEPTED] * 2
    async with store.services.sessions.begin() as session:
        assert await session.commit(start()) is Outcome.ACCEPTED


@pytest.mark.timeout(20)
@pytest.mark.parametrize("limit", ["length of a statement", "progress"])
async def test_a_rollback_that_the_user_has_made_impossible_stops_nobody(limit: str) -> None:
    store = memory_store(parse_url("memory://"))
    await store.open()
    item = start()
    await store.commit([item])
    async with store.services.sessions.begin() as session:
        await session.execute("create table pets (name text)")
        if limit == "progress":
            session.native.conn.set_progress_handler(lambda: 1, 1)
        else:
            session.native.conn.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 10)
    assert await store.read(item.instance_id) is not None
    assert await store.commit([start()]) == [Outcome.ACCEPTED]
    async with store.services.sessions.begin() as session:
        await session.execute("create table pets (name text)")


@pytest.mark.timeout(20)
async def test_a_backup_from_inside_is_refused() -> None:
    store = memory_store(parse_url("memory://"))
    await store.open()
    async with store.services.sessions.begin() as session:
        with (
            closing(sqlite3.connect(":memory:")) as copy,
            pytest.raises(UsageError, match="a connection of your own"),
        ):
            session.native.conn.backup(copy)


async def test_a_virtual_table_that_is_temporary_ends_with_its_session() -> None:
    store = memory_store(parse_url("memory://"))
    await store.open()
    async with store.services.sessions.begin() as session:
        await session.execute("create virtual table temp.pages using dbstat")
        await session.commit(start())
    async with store.services.sessions.begin() as session:
        assert [] == await session.fetch_all("select name from temp.sqlite_master")


async def test_a_copy_that_fails_gives_the_floor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    store = memory_store(parse_url("memory://"))
    await store.open()

    def broken(_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("romancy_sqlite._memory_database._connect", broken)
        with pytest.raises(ZeroDivisionError):
            async with store.services.sessions.begin():
                pass
    assert await asyncio.wait_for(store.commit([start()]), _SOON) == [Outcome.ACCEPTED]


@pytest.mark.parametrize("closed", [True, False])
def test_a_writer_that_gave_up_on_a_loop_that_runs_no_more_gets_no_floor(*, closed: bool) -> None:
    """Before: it was given to the loop, which never ran again, and nobody ever wrote."""
    url = parse_url(f"memory://{unique()}")
    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    here, there = memory_store(url), memory_store(url)
    one.run_until_complete(here.open())
    other.run_until_complete(there.open())
    opening = here.services.sessions.begin()
    one.run_until_complete(opening.__aenter__())
    with pytest.raises(TimeoutError):
        other.run_until_complete(asyncio.wait_for(there.commit([start()]), 0.05))
    one.run_until_complete(opening.__aexit__(None, None, None))
    if closed:
        other.close()
    wrote = one.run_until_complete(asyncio.wait_for(here.commit([start()]), _SOON))
    assert wrote == [Outcome.ACCEPTED]
    one.close()
    other.close()


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_part_whose_end_is_cancelled_is_undone(tmp_path: Path, kind: str) -> None:
    """Before: a time-out at the end of the part was raised, and its writes were committed all the same."""
    store = create_store("memory://" if kind == "memory" else f"sqlite:///{tmp_path}/x.db")
    await store.open()

    async def write() -> None:
        async with store.services.sessions.begin() as session:
            await session.execute("create table pets (name text)")
            cancelled = False
            try:
                async with session.savepoint():
                    await session.execute("insert into pets values ('a')")
                    cast("Any", asyncio.current_task()).cancel()
            except asyncio.CancelledError:
                cancelled = True
                cast("Any", asyncio.current_task()).uncancel()
            assert cancelled
            try:
                await session.commit(start())
            except UsageError:
                return  # doomed: nothing is kept
        async with store.services.sessions.begin() as session:
            assert [] == await session.fetch_all("select name from pets")

    await asyncio.create_task(write())
    await store.close()

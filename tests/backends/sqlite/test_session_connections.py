"""Whatever a user's library does to a session's connection is rolled back, commits with the log, or ends with it."""

# Which connection serves a session is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.records import Outcome
from romancy_conformance.contract.building import full_log, start, step
from tests.backends.sqlite.dogs import DOG, contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore
    from romancy_sqlite._driver import sqlite3

    Write = Callable[[Any], object]

pytestmark = pytest.mark.anyio


def _atomic(db: Any) -> None:
    with db.atomic():
        db["dogs"].update(1, {"age": 8})
        with db.atomic():
            db["new"].insert(DOG)


WRITES: dict[str, Write] = {
    "insert": lambda db: db["new"].insert(DOG, pk="id"),
    "insert_all": lambda db: db["new"].insert_all([DOG | {"id": n} for n in range(250)], pk="id"),
    "insert with alter": lambda db: db["dogs"].insert(DOG | {"id": 9, "colour": "red"}, alter=True),
    "insert and replace": lambda db: db["dogs"].insert(DOG | {"age": 6}, replace=True),
    "upsert": lambda db: db["dogs"].upsert(DOG | {"age": 7}, pk="id"),
    "upsert_all": lambda db: db["dogs"].upsert_all([DOG | {"age": 7}, DOG | {"id": 2}], pk="id"),
    "update": lambda db: db["dogs"].update(1, {"age": 8}),
    "delete": lambda db: db["dogs"].delete(1),
    "delete_where": lambda db: db["dogs"].delete_where("age > ?", [1]),
    "create": lambda db: db["new"].create({"id": int, "name": str}, pk="id"),
    "create_table": lambda db: db.create_table("new", {"id": int}),
    "create_view": lambda db: db.create_view("new", "select * from dogs"),
    "create_index": lambda db: db["dogs"].create_index(["name"]),
    "add_column": lambda db: db["dogs"].add_column("colour", str),
    "add_foreign_key": lambda db: db["dogs"].add_foreign_key("age", "dogs", "id"),
    "transform": lambda db: db["dogs"].transform(rename={"age": "years"}),
    "extract": lambda db: db["dogs"].extract("name"),
    "convert": lambda db: db["dogs"].convert("name", str.upper),
    "lookup": lambda db: db["names"].lookup({"name": "Cleo"}),
    "m2m": lambda db: db["dogs"].update(1).m2m("toys", {"id": 1, "name": "ball"}, pk="id"),
    "rename_table": lambda db: db.rename_table("dogs", "cats"),
    "duplicate": lambda db: db["dogs"].duplicate("copies"),
    "drop": lambda db: db["dogs"].drop(),
    "enable_fts": lambda db: db["dogs"].enable_fts(["name"], create_triggers=True),
    "enable_counts": lambda db: db["dogs"].enable_counts(),
    "atomic": _atomic,
    "analyze": lambda db: db.analyze(),
    "execute": lambda db: db.execute("update dogs set age = 9"),
    "query": lambda db: list(db.query("select * from dogs")) and db.execute("delete from dogs"),
    "executescript": lambda db: db.executescript("update dogs set age = 9; create table new (id integer);"),
    "conn.execute": lambda db: db.conn.execute("update dogs set age = 9"),
    "conn.executemany": lambda db: db.conn.executemany("insert into dogs (id) values (?)", [(5,), (6,)]),
    "a cursor": lambda db: db.conn.cursor().execute("update dogs set age = 9"),
    "savepoint and release": lambda db: [db.execute(sql) for sql in ("savepoint a", "delete from dogs", "release a")],
}


@pytest.mark.usefixtures("dogs")
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_every_way_of_writing_rolls_back_and_commits_with_the_log(actor: Actor, path: Path, write: Write) -> None:
    """A8: before sqlite-utils 4, most of these committed the current transaction."""
    begun = await actor.begin()
    before = contents(path)

    async with actor.store.services.sessions.begin() as session:
        write(session.native)
        assert session.native.conn.in_transaction
    assert before == contents(path)

    async with actor.store.services.sessions.begin() as session:
        write(session.native)
        assert before == contents(path)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert before != contents(path)
    assert len(await full_log(actor.store, begun.instance_id)) == 2


async def connection_after(store: SqliteStore, use: Write) -> sqlite3.Connection | None:
    """Return what a session that was used like this has left for the next one."""
    async with store.services.sessions.begin() as session:
        use(session.native)
        assert await session.commit(start()) is Outcome.ACCEPTED
    await store.run_write(lambda _: None)
    return store.file.spare


@pytest.mark.usefixtures("dogs")
@pytest.mark.parametrize("name", ["insert", "upsert", "update", "conn.execute", "atomic"])
async def test_a_connection_that_nobody_holds_serves_the_next_session(store: SqliteStore, name: str) -> None:
    """Opening another one costs as much as the session's COMMIT, and a second flush of the disk."""
    first = await connection_after(store, lambda db: db.execute("select 1"))
    number = id(first)
    del first

    assert number == id(await connection_after(store, WRITES[name]))


def _same(_one: str, _other: str) -> int:
    return 0


TAINTS: dict[str, Write] = {
    "temp table": lambda db: db.execute("create temp table mine (id integer)"),
    "temp view": lambda db: db.execute("create temp view mine as select 1"),
    "a function": lambda db: db.register_function(lambda: 1, name="mine"),
    "conn.create_function": lambda db: db.conn.create_function("mine", 0, lambda: 1),
    "a collation": lambda db: db.conn.create_collation("mine", _same),
    "a pragma": lambda db: db.execute("pragma case_sensitive_like = on"),
    "a trace": lambda db: db.conn.set_trace_callback(None),
    "a progress handler": lambda db: db.conn.set_progress_handler(None, 1),
}


async def test_what_would_outlive_a_session_ends_with_its_connection(store: SqliteStore) -> None:
    for name, taint in TAINTS.items():
        for _ in range(2):
            assert await connection_after(store, taint) is None, name


HOLDS: dict[str, Write] = {
    "the database": lambda db: db,
    "a table": lambda db: db["dogs"],
    "the connection": lambda db: db.conn,
    "a cursor": lambda db: db.execute("select 1"),
    "a method": lambda db: db.conn.execute,
}


@pytest.mark.usefixtures("dogs")
async def test_a_connection_that_somebody_holds_serves_no_other_session(store: SqliteStore) -> None:
    held: list[object] = []
    for number, (name, hold) in enumerate(HOLDS.items(), 1):

        def keep(db: Any, hold: Write = hold) -> None:
            held.append(hold(db))

        left = await connection_after(store, keep)

        assert left is None, name
        assert len(held) == number

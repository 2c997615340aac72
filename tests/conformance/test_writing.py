"""The triggers that count what is written into SQLite agree with the programs that SQLite makes of the statements."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy_conformance.behaviour.costs.scenarios import SCENARIOS, SQLITE, differences, read, shown
from romancy_conformance.behaviour.costs.writing import Place, writes_of
from romancy_conformance.stores import migrated_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

IN_EVERY_INDEX: Final[dict[str, dict[str, object]]] = {
    "romancy_instances": {
        "status": "failed", "owner": "o", "wake_at": 1, "signals": 1, "kept_from": 0, "parent": "p", "fair_line": "",
    },
    "romancy_inbox": {"interest": "i"},
    "romancy_messages": {"spread": "every"},
    "romancy_interests": {},
    "romancy_log": {},
    "romancy_index": {},
    "romancy_seen": {},
}  # fmt: skip
"""Values by which a row has a place in every index of its table, except those of `_ELSEWHERE`."""
_ELSEWHERE: Final = {"romancy_instances_fair"}
"""Indexes of rows that another one leaves out."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "romancy.db"
    path.write_bytes(migrated_file())
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, object]:
    """The columns of a table, each with a value that it takes."""
    lines = connection.execute("select name, type from pragma_table_info(?)", (table,))
    return {name: b"" if kind == "blob" else 1 if kind == "integer" else "x" for name, kind in lines}


def explained(connection: sqlite3.Connection, sql: str) -> dict[str, int]:
    """How many entries of each index the program of a statement puts in and takes out, if all conditions hold."""
    roots = dict(connection.execute("select rootpage, name from sqlite_master where type = 'index'"))
    opened: dict[int, Any] = {}
    found: dict[str, int] = {}
    for _, code, cursor, root, *_ in connection.execute(f"explain {sql}"):
        if code in {"OpenWrite", "OpenRead"}:
            opened[cursor] = roots.get(root)
            continue
        name = opened.get(cursor)
        if code in {"IdxInsert", "IdxDelete"} and name is not None and name not in _ELSEWHERE:
            found[name] = found.get(name, 0) + 1
    return found


@pytest.mark.parametrize("table", IN_EVERY_INDEX)
async def test_an_update_of_each_column_writes_where_sqlite_says(
    path: Path, connection: sqlite3.Connection, table: str
) -> None:
    connection.execute(f"delete from {table}")  # noqa: S608 - ours
    row = columns_of(connection, table) | IN_EVERY_INDEX[table]
    updates = {name: f"update {table} set {name} = {name}" for name in row}  # noqa: S608 - names of ours
    programs = {name: explained(connection, sql) for name, sql in updates.items()}
    writes = writes_of(f"sqlite:///{path}")
    await writes.begin()
    places = ", ".join("?" * len(row))
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({places})", [*row.values()])  # noqa: S608 - the same
    filled = {place.index_name for place in await writes.counted() if place.index_name}
    assert {name for program in programs.values() for name in program} <= filled

    for name, program in programs.items():
        connection.execute(updates[name])
        counted = await writes.counted()
        assert program == {place.index_name: count for place, count in counted.items() if place.index_name}, name
        assert counted[Place(table)] == 1, name


def test_a_table_of_numbers_is_read_as_it_is_shown() -> None:
    numbers = read(SQLITE)

    assert read(shown(numbers)) == numbers
    assert SQLITE.split() == shown(numbers).split()
    assert numbers.keys() == SCENARIOS.keys()


def test_a_difference_names_the_table_and_the_index() -> None:
    usual = read(SQLITE)
    log, index = Place("romancy_log"), Place("romancy_log", "another")
    other = {**usual, "wait": {**usual["wait"], log: 3, index: 2}}

    assert differences(usual, other) == [
        "wait: 3 rows of romancy_log, where 1 were expected",
        "wait: 2 entries of another, an index on romancy_log, where 0 were expected",
    ]
    assert differences(usual, usual) == []

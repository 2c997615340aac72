"""Rows that come in the order of an index: the plan is the same without the clause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.sql import DEFAULT_PREFIX, with_prefix
from romancy_mysql._sql import Raw, Template, qualifier
from tests.backends.mysql.rows import sql_of
from tools.mutations.systematic.equivalents import class_of
from tools.mutations.systematic.statements import listed

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql")]

GIVEN = {
    "wanted": Raw(b"instance_id = 'i'"),
    "leaves": False,
    "leave": [""],
    "grace": 1,
    "newest": 1,
    "bytes": 1,
    "commits": 1,
    "delivery_id": "",
    "due_by": 1,
}


async def test_what_an_index_orders_has_the_same_plan_without_the_clause(store: MySQLStore, wire: Wire) -> None:
    database = store.database
    qualified = qualifier(database.settings.database, DEFAULT_PREFIX)
    head = b"explain " if "MariaDB" in wire.server_version else b"explain format=traditional "
    ordered = [one for one in listed("mysql") if (found := class_of(one)) and found.name == "order of an index"]
    wrong: list[object] = []
    for one in ordered:
        changed = {one.statement: Template(one.statement, with_prefix(one.text, DEFAULT_PREFIX), qualified)}
        plans = [
            (await wire.run(head + sql_of(texts, one.statement, GIVEN), "explain"))[0].rows
            for texts in (database, changed)
        ]
        if plans[0] != plans[1]:
            wrong.append((one.label, plans))

    assert ordered
    assert wrong == []

"""Which rows each script holds until the end of its transaction, and which ones of others it passes over."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.backends.mysql.rows import put_in, sql_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore
    from tests.backends.mysql.rows import Rows, Values

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

CLAIM: Values = {"code": "\nc1\n", "leaves": False, "leave": ["c9"], "grace": 0}
ENDED: Rows = {"instances": {"status": "failed"}}
PASSING: dict[str, tuple[Rows, Values]] = {
    "claim_due": ({"instances": {"wake_at": 5}}, CLAIM),
    "free_instances": ({"instances": {}}, {}),
    "find_old": (ENDED, {"status": "failed"}),
    "prune_named": (ENDED, {"statuses": ["failed"]}),
    "outbox_due": ({"outbox": {}}, {}),
    "drop_messages": ({"messages": {}}, {}),
    "hold_free": ({"instances": {}, "uncounted": {}}, {}),
}
HOLDING: dict[str, tuple[Rows, Values]] = PASSING | {
    "hold_former": ({"instances": {}}, {}),
    "hold_interests": ({"interests": {}}, {}),
    "hold_letters": ({"letters": {}}, {"ids": ["l"]}),
    "hold_mail": ({"inbox": {}}, {"handed": None}),
    "hold_runs": ({"instances": {}}, {}),
    "hold_taken": ({"inbox": {}}, {}),
    "lock_instances": ({"instances": {}}, {}),
}


@asynccontextmanager
async def lying(store: MySQLStore, wire: Wire, rows: Rows) -> AsyncGenerator[bytes]:
    """Commit these rows, and return the first table. They are removed at the end."""
    await wire.run(put_in(store.database, rows), "put")
    try:
        yield store.database.table(next(iter(rows)))
    finally:
        await wire.run(b"rollback", "undo")
        await wire.run(b";".join(b"delete from " + store.database.table(name) for name in rows), "remove")


async def test_a_script_holds_its_rows(store: MySQLStore, wire: Wire) -> None:
    held: dict[str, bool] = {}
    for script, (rows, given) in HOLDING.items():
        async with lying(store, wire, rows) as table, store.database.sessions.borrow() as other:
            await wire.run(b"start transaction;" + sql_of(store.database, script, given), "test")
            (free,) = await other.run(b"select 1 from %b for update skip locked" % table, "look")
            held[script] = not free.rows

    assert held == dict.fromkeys(HOLDING, True)


async def test_a_script_passes_over_the_rows_of_others(store: MySQLStore, wire: Wire) -> None:
    found: dict[str, tuple[int, int]] = {}
    for script, (rows, given) in PASSING.items():
        sql = sql_of(store.database, script, given)
        async with lying(store, wire, rows) as table, store.database.sessions.borrow() as other:
            await wire.run(b"start transaction; select 1 from %b for update" % table, "hold")
            await other.run(b"start transaction", "test")
            (answer,) = await other.run(sql, script)
            await other.run(b"rollback", "test")
            found[script] = len(answer.rows), answer.affected if script in ("drop_messages", "hold_free") else 0

    assert found == dict.fromkeys(PASSING, (0, 0))

"""Scripts by name, on rows that a test has put into the tables itself: each condition meets a row that lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncpg

    from romancy_postgres._connection import Link
    from romancy_postgres._store import PostgresStore

__all__ = ["Scripts"]

_NEEDED: Final[dict[str, dict[str, Any]]] = {
    "addresses": {"number": 1},
    "inbox": {"at": 1, "number": 1, "counted": True, "body": b"1"},
    "index": {"created_at": 1, "path": "p"},
    "index_sets": {"members": ["p"]},
    "instances": {
        "life": 1, "created_at": 1, "updated_at": 1, "workflow_name": "flow", "status": "waiting", "code": "c1",
        "index_paths": "", "input": b"1",
    },
    "interests": {"at": 1, "life": 1, "kind": "take"},
    "journal": {"life": 1, "at": 1, "mark": "m", "body": b"1"},
    "letters": {"at": 1, "address": "a", "body": b"1"},
    "log": {"life": 1, "at": 1, "writer": "w", "body": b"1"},
    "messages": {"at": 1, "spread": "one", "body": b"1"},
    "outbox": {"at": 1, "topic": "t", "body": b"1"},
    "seen": {"at": 1, "life": 1},
    "workers": {
        "beat": 1, "beat_at": 1, "started_at": 1, "lease": 1, "dead": False, "worker_id": "w", "codes": [],
        "boot_id": "b", "pid_namespace": "n", "pid": 1, "pid_start": 1,
    },
}  # fmt: skip
"""What a row must have, if a test does not say it."""


_WITHOUT_INDEXES: Final = (
    "set local plan_cache_mode = force_custom_plan; set local enable_seqscan = on; set local enable_indexscan = off; "
    "set local enable_indexonlyscan = off; set local enable_bitmapscan = off; set local enable_hashjoin = off; "
    "set local enable_nestloop = off"
)
"""Then rows come in the order in which they were written or joined, and not in that of an index or of a list."""


class Scripts:
    """The scripts of a store, and its tables."""

    def __init__(self, store: PostgresStore, connection: asyncpg.Connection, *, by_index: bool = True) -> None:
        self._database = store.database
        self.by_index = by_index
        self._connection = connection

    async def put(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows."""
        for row in rows:
            columns = _NEEDED[table] | row
            places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
            names = ", ".join(columns)
            sql = f"insert into romancy_{table} ({names}) values ({places})"  # noqa: S608 - names of ours
            await self._connection.execute(sql, *columns.values())

    async def ask(self, name: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a script's answer."""

        async def plainly(link: Link) -> list[asyncpg.Record]:
            await link.control(_WITHOUT_INDEXES)
            return await link.fetch(name, *values)

        found = self._database.fetch(name, *values) if self.by_index else self._database.transaction(plainly)
        return [tuple(row) for row in await found]

    async def run(self, name: str, *values: object) -> int:
        """How many rows a script has touched."""
        return await self._database.run(name, *values)

    async def sql(self, statement: str) -> None:
        """Run a statement of the test's."""
        await self._connection.execute(statement)

    async def rows(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        """These columns of all rows of a table, sorted."""
        sql = f"select {columns} from romancy_{table} order by {columns}"  # noqa: S608 - names of ours
        return [tuple(row) for row in await self._connection.fetch(sql)]

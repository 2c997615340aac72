"""The connections of SQLAlchemy's drivers around one that is lent to an activity.

SQLAlchemy's own classes adapt asyncpg and aiomysql to its blocking code, in greenlets. Here they cannot end the
transaction. On a thread, the event loop makes each of their calls.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from sqlalchemy.dialects.mysql.aiomysql import AsyncAdapt_aiomysql_connection, AsyncAdapt_aiomysql_cursor
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.util import await_only, greenlet_spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.ext.sqlalchemy._keeper import Keeper

__all__ = ["Blocking", "LentAiomysql", "LentAsyncpg", "LentSqlite"]

_UPDATE: Final = re.compile(r"\s*update\b", re.IGNORECASE)
_MATCHED: Final = re.compile(rb"\d+")
_AWAITING: Final = frozenset({"callproc", "close", "execute", "executemany", "nextset", "setinputsizes"})
"""Methods of cursors that wait for the server."""


class LentAsyncpg(AsyncAdapt_asyncpg_connection):
    """A connection of asyncpg that is in a transaction already."""

    def __init__(self, dbapi: Any, keeper: Keeper) -> None:
        # Names of their own: behind a pooler, other clients prepare statements in the same session of the server.
        parent: Any = super()
        parent.__init__(dbapi, keeper.native, prepared_statement_name_func=lambda: f"romancy_{uuid4().hex}")
        self.keeper = keeper

    async def _start_transaction(self) -> None:
        self._transaction = cast("Any", self.keeper)  # any object: SQLAlchemy only checks that there is one


class _MatchingCursor(AsyncAdapt_aiomysql_cursor):
    """Counts the rows that an UPDATE has found, as SQLAlchemy expects. Romancy's connections count changed rows."""

    _updates = False

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        self._updates = _UPDATE.match(str(operation)) is not None
        return await super()._execute_async(operation, parameters)

    @property
    def rowcount(self) -> int:
        cursor: Any = self._cursor
        result = cursor._result if self._updates else None  # noqa: SLF001 - the driver does not hand the message out
        found = None if result is None else _MATCHED.search(result.message or b"")
        return cursor.rowcount if found is None else int(found[0])


class LentAiomysql(AsyncAdapt_aiomysql_connection):
    """A connection of aiomysql that is in a transaction already."""

    def __init__(self, dbapi: Any, keeper: Keeper) -> None:
        super().__init__(dbapi, keeper.native)
        self.keeper = keeper

    def cursor(self, server_side: bool = False) -> Any:  # noqa: FBT001, FBT002 - what SQLAlchemy calls
        return super().cursor(server_side=True) if server_side else _MatchingCursor(self)


class LentSqlite:
    """A connection of SQLite's module. In an `async def`, its statements run on a thread."""

    def __init__(self, dbapi: Any, keeper: Keeper) -> None:
        self.dbapi = dbapi
        self.keeper = keeper
        self._connection: Any = keeper.native.conn

    def cursor(self, server_side: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002 - what SQLAlchemy calls
        """A cursor that returns plain rows."""
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor if self.keeper.blocking else _Threaded(cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Threaded:
    """A cursor whose statements run on a thread, and whose rows are read there."""

    server_side = False

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._rows: deque[Any] = deque()

    def execute(self, operation: str, parameters: Any = ()) -> None:
        await_only(asyncio.to_thread(self._run, self._cursor.execute, operation, parameters))

    def executemany(self, operation: str, parameters: Any) -> None:
        await_only(asyncio.to_thread(self._run, self._cursor.executemany, operation, parameters))

    def _run(self, method: Callable[[str, Any], object], operation: str, parameters: Any) -> None:
        method(operation, parameters)
        self._rows = deque(self._cursor.fetchall() if self._cursor.description else ())

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        return [self._rows.popleft() for _ in range(min(size or self.arraysize, len(self._rows)))]

    def fetchall(self) -> Sequence[Any]:
        rows, self._rows = self._rows, deque()
        return list(rows)

    async def _async_soft_close(self) -> None:
        """SQLAlchemy awaits this before it returns the remaining rows."""

    def close(self) -> None:
        self._rows.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class Blocking:
    """A connection in the thread of a plain function. The event loop runs the calls that must be awaited."""

    def __init__(self, adapted: Any, keeper: Keeper) -> None:
        self.adapted = adapted
        self.keeper = keeper

    def cursor(self, **options: Any) -> _BlockingCursor:
        """A cursor whose calls wait for the event loop."""
        made = self.keeper.wait(partial(greenlet_spawn, partial(self.adapted.cursor, **options)))
        return _BlockingCursor(made, self.keeper)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapted, name)


class _BlockingCursor:
    """A cursor whose calls wait for the event loop."""

    _adapted: Any
    _keeper: Keeper

    def __init__(self, adapted: Any, keeper: Keeper) -> None:
        object.__setattr__(self, "_adapted", adapted)
        object.__setattr__(self, "_keeper", keeper)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._adapted, name)
        if name in _AWAITING or (name.startswith("fetch") and self._adapted.server_side):
            return partial(self._waited, found)
        return found

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._adapted, name, value)

    def _waited(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self._keeper.wait(partial(greenlet_spawn, partial(method, *arguments, **options)))

"""Joined sessions: an item in the caller's transaction, which the caller alone commits.

The caller's connection may belong to the caller's thread, so everything runs on the event loop: statements in an open
transaction wait for no disk. If the transaction must still become a writing one, the event loop does the waiting.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.limits import check_batch, check_deliveries, check_outbox, check_postings
from romancy_sqlite._commit import write_items
from romancy_sqlite._connection import Tx
from romancy_sqlite._driver import Database, sqlite3
from romancy_sqlite._errors import is_busy, is_stale, translate
from romancy_sqlite._guard import GuardedConnection
from romancy_sqlite._inbox import deliver_all
from romancy_sqlite._outbox import queue_outgoing
from romancy_sqlite._prune import clear
from romancy_sqlite._routes import post_all
from romancy_sqlite._user_sql import execute, fetch_all, undo_part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Sequence

    from romancy.status import Status
    from romancy.storage.records import Delivered, Delivery, Item, OutboxRow, Outcome
    from romancy.storage.routing import Posting
    from romancy_sqlite._file import SharedFile

__all__ = ["JoinedSession"]

Result = TypeVar("Result")

_PAUSE = 0.005


class JoinedSession:
    """The caller's transaction as a session."""

    def __init__(self, shared: SharedFile, sql: dict[str, str], join: object) -> None:
        self._shared = shared
        self._sql = sql
        self._database = _database_of(join)
        self._connection = self._database.conn
        self._parts = 0
        try:
            sqlite3.Connection.cursor(self._connection)
        except sqlite3.ProgrammingError as error:  # it is closed, or another thread's
            raise UsageError(f"session= was given a connection that cannot be used here: {error}") from None

    @property
    def native(self) -> Database:
        """The caller's database."""
        return self._database

    async def execute(self, sql: str, *parameters: object) -> int:
        return execute(self._connection, sql, parameters)

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        return fetch_all(self._connection, sql, parameters)

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:  # noqa: ARG002 - its owner handles errors
        return None

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self._parts += 1
        name = f"romancy_joined_{self._parts}"
        execute(self._connection, f"savepoint {name}")
        try:
            yield
        except BaseException:
            undo_part(self._connection, name)
            raise
        execute(self._connection, f"release {name}")

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        check_batch([item], worker)
        (outcome,) = await self._write(partial(write_items, batch=[item], worker=worker))
        return outcome

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        check_deliveries(deliveries)
        check_outbox(outbox)
        check_postings(postings)
        return await self._write(partial(_send, deliveries=deliveries, outbox=outbox, postings=postings))

    async def clear(self, instance_id: str, life: int, statuses: Collection[Status], /) -> bool:
        return await self._write(partial(clear, instance_id=instance_id, life=life, statuses=statuses))

    async def _write(self, work: Callable[[Tx], Result]) -> Result:
        """Do the work inside the caller's transaction, whatever the caller's settings of the connection are."""
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        text_factory, self._connection.text_factory = self._connection.text_factory, str
        try:
            await self._become_writer(cursor)
            tx = Tx(cursor, self._sql)
            result = work(tx)
        except sqlite3.Error as error:
            raise translate(error, self._shared.path) from error
        finally:
            self._connection.text_factory = text_factory
        if isinstance(self._connection, GuardedConnection):
            self._connection.touched |= tx.touched
        return result

    async def _become_writer(self, cursor: sqlite3.Cursor) -> None:
        """Take the file's write lock for the caller's transaction without blocking the event loop."""
        self._check_file(cursor)
        begun = self._connection.in_transaction
        # From Python 3.12 on there are two settings for it.
        autocommit = self._connection.isolation_level is None or getattr(self._connection, "autocommit", -1) is True
        if not begun and autocommit:
            raise UsageError(
                "session= was given a connection in autocommit mode and in no transaction; "
                "execute BEGIN IMMEDIATE on it first, and COMMIT after"
            )
        (patience,) = cursor.execute("pragma busy_timeout").fetchone()
        cursor.execute("pragma busy_timeout = 0")
        try:
            await self._take_lock(cursor, "lock_file" if begun else "begin_writing")
        finally:
            cursor.execute(f"pragma busy_timeout = {int(patience)}")

    async def _take_lock(self, cursor: sqlite3.Cursor, statement: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._shared.lock_timeout
        while True:
            try:
                cursor.execute(self._sql[statement])
                return
            except sqlite3.OperationalError as error:
                too_late = loop.time() > deadline
                if is_stale(error) or (too_late and statement == "lock_file" and is_busy(error)):
                    raise StorageUnavailableError(
                        f"SQLite file {self._shared.path}: the joined transaction has read what others have changed "
                        "since, so SQLite lets it write no more; begin it with BEGIN IMMEDIATE"
                    ) from error
                if too_late or not is_busy(error):
                    raise
            await asyncio.sleep(_PAUSE * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret

    def _check_file(self, cursor: sqlite3.Cursor) -> None:
        names = [row[2] for row in cursor.execute("pragma database_list").fetchall() if row[1] == "main"]
        if not (names and names[0]) or not self._shared.path.samefile(names[0]):
            raise UsageError(
                f"session= was given a connection to another database than {self._shared.path}; "
                "one transaction cannot span both"
            )


def _database_of(join: object) -> Database:
    if isinstance(join, Database):
        return join
    if isinstance(join, sqlite3.Connection):
        return Database(join, recursive_triggers=False, execute_plugins=False)
    native = getattr(join, "native", None)
    if isinstance(native, Database):
        return native
    raise UsageError(
        f"session= takes a sqlite3.Connection, a sqlite_utils.Database or an activity's session, "
        f"not {type(join).__name__}"
    )


def _send(
    tx: Tx, deliveries: Sequence[Delivery], outbox: Sequence[OutboxRow], postings: Sequence[Posting]
) -> list[Delivered]:
    if outbox:
        queue_outgoing(tx, outbox)
    return deliver_all(tx, deliveries) + post_all(tx, postings)

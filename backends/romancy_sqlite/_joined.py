"""Joined sessions: an item in the caller's transaction, which the caller alone commits.

Everything runs on the thread of the caller's connection, mostly on the event loop: statements in an open transaction do
not wait for the disk. If the transaction must still get the write lock, the wait is asynchronous.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.joining import CANNOT_WRITE
from romancy.storage.limits import check_batch, check_messages
from romancy_sqlite._commit import write_items
from romancy_sqlite._connection import Tx
from romancy_sqlite._driver import Database, sqlite3
from romancy_sqlite._errors import is_busy, is_read_only, is_stale, translate
from romancy_sqlite._guard import GuardedConnection
from romancy_sqlite._inbox import deliver_all
from romancy_sqlite._outbox import queue_outgoing
from romancy_sqlite._routes import post_all
from romancy_sqlite._user_sql import execute, fetch_all, undo_part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from romancy.storage.joining import Joined, Run
    from romancy.storage.records import Delivered, Delivery, Item, OutboxRow, Outcome
    from romancy.storage.routing import Posting
    from romancy_sqlite._shared import Shared

__all__ = ["JoinedSession"]

Result = TypeVar("Result")

_PAUSE = 0.005


class JoinedSession:
    """The caller's transaction as a session."""

    excluding = False
    renewed = None

    def __init__(self, shared: Shared, sql: dict[str, str], joined: Joined, news: Callable[[], None]) -> None:
        self._shared = shared
        self._sql = sql
        self._native, self._run = _reached(joined)
        self._connection = self._native.conn if isinstance(self._native, Database) else self._native
        self._at_end, self._news = joined.at_end, news
        self._parts = 0

    async def check(self) -> None:
        """Refuse a connection that is closed, or another thread's."""
        try:
            await self._run(partial(sqlite3.Connection.cursor, self._connection))
        except (sqlite3.ProgrammingError, ValueError) as error:
            raise UsageError(f"session= was given a connection that cannot be used here: {error}") from None

    @property
    def native(self) -> Any:
        """The caller's database or connection, as it was given."""
        return self._native

    async def execute(self, sql: str, *parameters: object) -> int:
        return await self._run(partial(execute, self._connection, sql, parameters))

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        return await self._run(partial(fetch_all, self._connection, sql, parameters))

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:  # noqa: ARG002 - its owner handles errors
        return None

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self._parts += 1
        name = f"romancy_joined_{self._parts}"
        await self.execute(f"savepoint {name}")
        try:
            yield
        except BaseException:
            await self._run(partial(undo_part, self._connection, name))
            raise
        await self.execute(f"release {name}")

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
        check_messages(deliveries, outbox, postings)
        return await self._write(partial(_send, deliveries=deliveries, outbox=outbox, postings=postings))

    async def _write(self, work: Callable[[Tx], Result]) -> Result:
        """Do the work inside the caller's transaction, independent of the caller's settings of the connection."""
        try:
            begun = await self._run(self._check_transaction)
            await self._take_lock("lock_file" if begun else "begin_writing")
            result = await self._run(partial(self._carry_out, work))
        except sqlite3.Error as error:
            if is_read_only(error) and os.access(self._shared.path, os.W_OK):
                raise UsageError(CANNOT_WRITE) from error
            raise translate(error, self._shared.path) from error
        if self._at_end is not None:
            self._at_end(self._news)
        return result

    @contextmanager
    def _cursor(self) -> Generator[sqlite3.Cursor]:
        """A cursor that reads as Romancy does."""
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        text_factory, self._connection.text_factory = self._connection.text_factory, str
        try:
            yield cursor
        finally:
            self._connection.text_factory = text_factory

    def _carry_out(self, work: Callable[[Tx], Result]) -> Result:
        with self._cursor() as cursor:
            tx = Tx(cursor, self._sql, at=self._shared.now())
            result = work(tx)
        if isinstance(self._connection, GuardedConnection):
            self._connection.touched |= tx.touched
        return result

    def _check_transaction(self) -> bool:
        """Whether the transaction has begun. Refuses a connection that would begin none, or is to another file."""
        with self._cursor() as cursor:
            self._check_file(cursor)
        begun = self._connection.in_transaction
        # From Python 3.12 on there are two settings for it.
        autocommit = self._connection.isolation_level is None or getattr(self._connection, "autocommit", -1) is True
        if not begun and autocommit:
            raise UsageError(
                "session= was given a connection in autocommit mode and in no transaction; "
                "execute BEGIN IMMEDIATE on it first, and COMMIT after"
            )
        return begun

    async def _take_lock(self, statement: str) -> None:
        """Take the file's write lock for the caller's transaction without blocking the event loop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._shared.lock_timeout
        while True:
            try:
                await self._run(partial(self._try_lock, statement))
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

    def _try_lock(self, statement: str) -> None:
        with self._cursor() as cursor:
            (patience,) = cursor.execute("pragma busy_timeout").fetchone()
            cursor.execute("pragma busy_timeout = 0")
            try:
                cursor.execute(self._sql[statement])
            finally:
                cursor.execute(f"pragma busy_timeout = {int(patience)}")

    def _check_file(self, cursor: sqlite3.Cursor) -> None:
        names = [row[2] for row in cursor.execute("pragma database_list").fetchall() if row[1] == "main"]
        if not (names and names[0]) or not self._shared.path.samefile(names[0]):
            raise UsageError(
                f"session= was given a connection to another database than {self._shared.path}; "
                "one transaction cannot span both"
            )


def _reached(joined: Joined) -> tuple[Database | sqlite3.Connection, Run]:
    """The caller's database or connection, and the way to run work on its thread.

    Nothing of a connection is read here: most of its attributes may be read on its own thread alone.
    """
    given: Any = joined.connection
    if isinstance(given, (Database, sqlite3.Connection)):
        return given, joined.run
    native = getattr(given, "native", None)
    if isinstance(native, Database):
        return native, joined.run
    if type(given).__module__.partition(".")[0] == "aiosqlite":
        try:
            return given._conn, given._execute  # noqa: SLF001 - it has no public name
        except ValueError as error:
            raise UsageError(f"session= was given a connection that cannot be used here: {error}") from None
    raise UsageError(
        "session= takes a connection of sqlite3 or aiosqlite, a sqlite_utils.Database, an activity's session, or a "
        f"session or connection of SQLAlchemy on one of these drivers, not {type(given).__name__}"
    )


def _send(
    tx: Tx, deliveries: Sequence[Delivery], outbox: Sequence[OutboxRow], postings: Sequence[Posting]
) -> list[Delivered]:
    if outbox:
        queue_outgoing(tx, outbox)
    return deliver_all(tx, deliveries) + post_all(tx, postings)

"""Sessions with a transaction of their own: the user's writes and one append, which only Romancy ends."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import OutcomeUnknownError, StorageUnavailableError, UsageError
from romancy.storage.endings import OneAtATime
from romancy.storage.limits import check_batch
from romancy.storage.records import Outcome
from romancy_sqlite._commit import write_items
from romancy_sqlite._connection import Tx, patiently
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import is_uncertain, translate
from romancy_sqlite._guard import COMMIT, END_GUARD, OVER, Reason
from romancy_sqlite._user_sql import execute, fetch_all, undo_part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from romancy.storage.records import Item
    from romancy_sqlite._driver import Database
    from romancy_sqlite._shared import Shared
    from romancy_sqlite._turns import SessionTurn

__all__ = ["SqliteSession", "open_session"]

Result = TypeVar("Result")

_ENDED = (
    "session: its transaction was ended by the user's code or by an error of the database; nothing has been "
    "written. Leave commit and rollback to Romancy, and let database errors out"
)
_DOOMED = Reason(
    UsageError,
    "session: a statement failed and its error was swallowed; nothing has been written. "
    "Let the error out, or put the statement into `async with session.savepoint()`",
)


@asynccontextmanager
async def open_session(shared: Shared, sql: dict[str, str], turn: SessionTurn) -> AsyncGenerator[SqliteSession]:
    """A user's transaction. It is rolled back at the end of the block unless it was committed."""
    try:
        await turn.begin()
        yield SqliteSession(shared, turn, sql)
    finally:
        turn.leave()


class SqliteSession:
    """A session whose statements run where its turn is. `native` may be used from any thread."""

    def __init__(self, shared: Shared, turn: SessionTurn, sql: dict[str, str]) -> None:
        self._shared = shared
        self._turn = turn
        self._sql = sql
        self._committed = False
        self._doomed = False
        self._parts = 0
        self._alone = OneAtATime()

    @property
    def native(self) -> Database:
        """The `sqlite_utils.Database` inside the transaction."""
        if self._committed:
            raise OVER.error()
        return self._turn.database

    @property
    def excluding(self) -> bool:
        """Whether the session excludes other writers and is not about to end."""
        return self._turn.excluding

    @property
    def renewed(self) -> bool | None:
        """Whether the end of the session renewed its worker's lease. None before it has ended."""
        return self._turn.renewed

    async def execute(self, sql: str, *parameters: object) -> int:
        return await self._user_statement(partial(execute, self._turn.connection, sql, parameters))

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        return await self._user_statement(partial(fetch_all, self._turn.connection, sql, parameters))

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:
        # The native object itself raises StorageUnavailableError for a transient failure.
        return error if isinstance(error, StorageUnavailableError) else None

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self._parts += 1
        name = f"romancy_part_{self._parts}"
        doomed = self._doomed
        connection = self._turn.connection
        with self._alone:
            await self._turn.ask(partial(execute, connection, f"savepoint {name}", ()))
        try:
            yield
        except BaseException:
            await self._undo(name, doomed=doomed)
            raise
        try:
            with self._alone:
                await self._turn.ask(partial(execute, connection, f"release {name}", ()))
        except BaseException:
            with suppress(sqlite3.Error):  # it may be released all the same, which dooms the session
                await self._undo(name, doomed=doomed)
            raise

    async def _undo(self, part: str, *, doomed: bool) -> None:
        if self._turn.is_over:
            return
        self._doomed = True
        with self._alone:
            await self._turn.ask(partial(undo_part, self._turn.connection, part))
        self._doomed = doomed

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        if self._committed:
            raise OVER.error()
        self._alone.check()
        check_batch([item], worker)
        self._committed = True
        if self._doomed:
            reason = self._turn.connection.lost or _DOOMED
            self._turn.finish()
            raise reason.error()
        return await self._turn.ask(partial(self._commit, item, worker), commits=True)

    async def _user_statement(self, action: Callable[[], Result]) -> Result:
        if self._committed:
            raise OVER.error()
        try:
            with self._alone:
                return await self._turn.ask(action)
        except (sqlite3.Error, StorageUnavailableError):
            self._doomed = True
            raise

    # --- on the thread of the turn ----------------------------------------------------------------------------

    def _commit(self, item: Item, worker: str | None) -> Outcome:
        connection = self._turn.connection
        try:
            with connection.take_back() as cursor:
                changes = connection.total_changes
                _release_guard(cursor)
                tx = Tx(cursor, self._sql, at=self._shared.now())
                (outcome,) = write_items(tx, [item], worker)
                if outcome is not Outcome.ACCEPTED:
                    return outcome
                renewed = worker is not None and tx.run("renew", (tx.now, worker)) == 1
                self._turn.excluding = False
                self._end_transaction(cursor)
                self._turn.renewed = renewed
                self._shared.writer.wrote(connection.total_changes - changes)
        except sqlite3.Error as error:
            raise translate(error, self._shared.path) from error
        finally:
            self._turn.finish()
        touched = connection.touched | tx.touched
        if touched:
            self._shared.tell(touched)
        return outcome

    def _end_transaction(self, cursor: sqlite3.Cursor) -> None:
        try:
            patiently(lambda: cursor.execute(COMMIT), seconds=self._shared.lock_timeout)
        except sqlite3.Error as error:
            if not is_uncertain(error):
                raise
            raise OutcomeUnknownError(
                f"SQLite file {self._shared.path}: COMMIT failed ({error}), and only the log shows its outcome"
            ) from error


def _release_guard(cursor: sqlite3.Cursor) -> None:
    try:
        cursor.execute(END_GUARD)
    except sqlite3.OperationalError as error:
        raise UsageError(_ENDED) from error

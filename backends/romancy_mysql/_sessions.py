"""Sessions with a transaction of their own: user code inside a transaction that Romancy ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiomysql
from pymysql.err import MySQLError

from romancy.errors import OutcomeUnknownError, StorageError, StorageUnavailableError, UsageError
from romancy.storage.endings import BESIDE, OVER
from romancy.storage.error_origin import raised_on
from romancy.storage.limits import check_batch
from romancy.storage.records import Outcome
from romancy_mysql._cluster import caught_up
from romancy_mysql._connection import READING
from romancy_mysql._effects import Write
from romancy_mysql._errors import (
    ConnectionLostError,
    LockWaitError,
    MismatchError,
    RefusedValueError,
    SavepointGoneError,
    TransientError,
    code_of,
    overran,
    translate,
)
from romancy_mysql._explain import done_already, look, on_item
from romancy_mysql._guard import GuardedConnection
from romancy_mysql._sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.records import Item
    from romancy_mysql._commit import Committer
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._explain import Earlier
    from romancy_mysql._protocol import Answer

__all__ = ["MySQLSession", "open_session"]

_GUARD = b"; savepoint romancy_session"
# The user may have changed how statements are parsed. Romancy's must keep their meaning.
_RELEASE = Statement("session.release", READING.encode() + b"; release savepoint romancy_session")
_ENDED = (
    "the session's transaction was ended by user code (COMMIT, ROLLBACK, DDL, a deadlock that was swallowed); "
    "nothing was written to the log. Leave the end of the transaction to Romancy"
)
_FAILED = (
    "a statement of this session failed and the failure was swallowed; nothing was committed. "
    "Let the exception pass, or put the statement into `async with session.savepoint()`"
)


class MySQLSession:
    """A user's transaction. `native` is an `aiomysql.Connection`."""

    excluding = False
    renewed = None

    def __init__(self, database: Database, committer: Committer, guard: GuardedConnection) -> None:
        self._database = database
        self._committer = committer
        self._guard = guard
        self._savepoints = 0
        self.done = False

    @property
    def native(self) -> GuardedConnection:
        self._refuse_if_done()
        return self._guard

    async def execute(self, sql: str, *parameters: object) -> int:
        cursor = await self._run(aiomysql.Cursor, sql, parameters)
        return cursor.rowcount

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        cursor = await self._run(aiomysql.DictCursor, sql, parameters)
        return [dict(line) for line in await cursor.fetchall()]

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:
        if not isinstance(error, MySQLError) or raised_on(error, aiomysql.Connection) is not self._guard:
            return None
        return self._explained(error)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self._savepoints += 1
        name = b"romancy_savepoint_%d" % self._savepoints
        failed = self._guard.failed
        await self._step(b"savepoint " + name)
        try:
            yield
        except BaseException:
            if not self.done and not self._guard.closed:
                if self._guard.busy:
                    self._guard.failed = True
                elif await self._undone(name):
                    self._guard.failed = failed
            raise
        await self._step(b"release savepoint " + name)

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        self._refuse_if_done()
        if self._guard.busy:
            raise UsageError(BESIDE)
        check_batch([item], worker)
        await self._committer.remember_paths([item])
        self._let_go()
        if self._guard.failed:
            await self.roll_back()
            raise UsageError(_FAILED)
        if self._database.engine.applied:
            await self._catch_up()
        write = _write(self._database, item, worker, await done_already(self._database, self._send, item))
        ends = self._database.engine.session_ends
        release = _RELEASE._replace(sql=_RELEASE.sql + ends) if ends else _RELEASE
        try:
            await self._database.carry_out(self._guard, [release, *write.statements()], last=self._database.end)
        except MismatchError:
            await self.roll_back()
            return await self._why(item, worker)
        except (RefusedValueError, UnicodeEncodeError):
            await self.roll_back()
            return Outcome.INVALID
        except SavepointGoneError:
            await self.roll_back()
            raise UsageError(_ENDED) from None
        except TransientError as error:
            await self.roll_back()
            raise self._try_again(f"the session's commit {_why_not(error)}") from None
        except ConnectionLostError as error:
            raise OutcomeUnknownError(f"{error}; whether the session was committed is not known") from None
        except Exception:
            await self.roll_back()
            raise
        self._guard.tainted = False
        await self._committer.signal(write.deliveries)
        self._committer.tell([item])
        return Outcome.ACCEPTED

    async def _catch_up(self) -> None:
        """The row before may have been committed on another node meanwhile."""
        try:
            await caught_up(self._guard, self._database.insist, self._database.engine.applied)
        except BaseException as error:
            await self.roll_back()
            if isinstance(error, TimeoutError):
                raise self._try_again("the session's node lags behind the others") from None
            if isinstance(error, TransientError):
                raise self._try_again(f"the session {_why_not(error)}") from None
            raise

    async def roll_back(self) -> None:
        """Undo everything. A broken connection needs nothing more."""
        self._let_go()
        if self._guard.busy:  # a statement's answer is still outstanding
            self._guard.abort()
        if not self._guard.closed:
            await self._database.roll_back(self._guard)

    def _explained(self, error: MySQLError) -> StorageUnavailableError | None:
        """The error for a user's statement that met a transient failure. None if the statement is at fault."""
        explained = translate(error, "a statement of the session", self._database.settings.where)
        if isinstance(explained, TransientError):
            return self._try_again(f"the session {_why_not(explained)} (error {code_of(error)})")
        return explained if isinstance(explained, StorageUnavailableError) and not overran(error) else None

    async def _run(self, kind: type[aiomysql.Cursor], sql: str, parameters: tuple[object, ...]) -> aiomysql.Cursor:
        self._refuse_if_done()
        cursor = await self._guard.cursor(kind)
        try:
            await cursor.execute(sql, parameters or None)
        except MySQLError as error:
            if (explained := self._explained(error)) is not None:
                raise explained from error
            raise
        return cursor

    async def _step(self, statement: bytes) -> None:
        self._refuse_if_done()
        if self._guard.busy:
            raise UsageError(BESIDE)
        try:
            await self._guard.run(statement, "a savepoint")
        except SavepointGoneError:
            self._guard.failed = True
            raise UsageError(_ENDED) from None

    async def _undone(self, savepoint: bytes) -> bool:
        """Roll back to the savepoint. False if it is gone: after a deadlock the whole transaction is."""
        try:
            await self._guard.run(b"rollback to savepoint " + savepoint, "a savepoint")
        except SavepointGoneError:
            return False
        return True

    async def _why(self, item: Item, worker: str | None) -> Outcome:
        facts = await look(self._database, self._send, [item], (), worker=worker)
        outcome = on_item(item, facts, worker)
        if outcome is None:
            raise self._try_again("the instance changed while the session was committed")
        return outcome

    async def _send(self, statements: Sequence[Statement]) -> list[Answer]:
        return await self._database.send(self._guard, statements)

    def _try_again(self, what: str) -> StorageUnavailableError:
        return _again(self._database, what)

    def _refuse_if_done(self) -> None:
        if self.done:
            raise UsageError(OVER)

    def _let_go(self) -> None:
        """End the user's access to the transaction. From here on, only Romancy uses it."""
        self.done = self._guard.ending = True


@asynccontextmanager
async def open_session(
    database: Database, committer: Committer, isolation: IsolationLevel | None = None
) -> AsyncGenerator[MySQLSession]:
    """Begin a transaction. Roll it back at the end of the block unless it was committed."""
    database.check_open()
    wire = await _begun(database, isolation)
    guard = GuardedConnection.borrow(wire)
    guard.tainted = True
    session = MySQLSession(database, committer, guard)
    try:
        yield session
    finally:
        if not session.done:
            await _quietly(session, guard)
        guard.give_back(wire)
        if wire.tainted or wire.gone:
            database.sessions.give_back(wire)
        else:
            database.sessions.give_back_after(wire, lambda lent: lent.reset())


async def _begun(database: Database, isolation: IsolationLevel | None) -> Wire:
    """A connection with a transaction and the savepoint that guards it."""
    if isolation == "serializable" and (why := database.engine.not_serializable):
        raise UsageError(f"isolation='serializable': {why}; there are 'read committed' and 'repeatable read'")
    level = b"" if isolation is None else b"set transaction isolation level " + isolation.encode() + b"; "
    guard = _GUARD + database.engine.session_begun
    while True:
        wire = await database.sessions.take()
        fresh = wire.fresh
        try:
            await wire.run(level + database.begin.sql + guard, "session")
        except ConnectionLostError:
            database.sessions.give_back(wire)
            database.sessions.drop_idle()
            if fresh:
                raise
        except BaseException as error:
            wire.tainted = True
            database.sessions.give_back(wire)
            if isinstance(error, TransientError):  # a node has waited for the others, in vain
                raise _again(database, f"the session's beginning {_why_not(error)}") from None
            raise
        else:
            return wire


async def _quietly(session: MySQLSession, guard: GuardedConnection) -> None:
    """Roll back at the end of the block. If that fails, drop the connection, which does the same."""
    try:
        await session.roll_back()
    except StorageError:
        guard.abort()
    except asyncio.CancelledError:
        guard.abort()
        raise


def _again(database: Database, what: str) -> StorageUnavailableError:
    return StorageUnavailableError(f"{database.settings.where}: {what}; nothing was committed, it can be tried again")


def _why_not(error: TransientError) -> str:
    if isinstance(error, LockWaitError):
        return "waited too long for a lock that another transaction holds"
    return "had to give way to another transaction"


def _write(database: Database, item: Item, worker: str | None, earlier: Earlier) -> Write:
    """The item's rows. The counters of its receivers move after the commit, so their rows are not locked here."""
    write = Write(database.__getitem__, worker=worker, session=True, lives=earlier.lives)
    if database.engine.reads_while_planning:
        write.predecessors = "predecessors_now"
    write.add(item, skip=earlier.done)
    return write

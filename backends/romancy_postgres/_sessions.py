"""Sessions: a transaction of user code on its own connection, which Romancy ends together with a log row.

A savepoint set at the beginning shows at the end whether the transaction is still the one that Romancy began. The
engine's statements come last. Deliveries to other instances only insert inbox rows: their counters move right after the
commit, in a transaction that holds nothing else.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import asyncpg
from asyncpg.connresource import ConnectionResource

from romancy.errors import OutcomeUnknownError, RomancyError, StorageUnavailableError, UsageError
from romancy.storage.endings import BESIDE, OVER, OneAtATime, refuse_postgres_ending
from romancy.storage.error_origin import raised_on
from romancy.storage.limits import check_batch
from romancy.storage.records import Append, Outcome, Step
from romancy_postgres._columns import firsts_of, path_sets
from romancy_postgres._connection import ANSWER_TIMEOUT, IDLE, Link, local_settings, rows_touched
from romancy_postgres._effects import renews, write_at_once
from romancy_postgres._errors import (
    DRIVER_ERRORS,
    busy,
    contended,
    falls_away,
    in_failed_transaction,
    read_only,
    refuses_values,
    transaction_gone,
    unborn,
    words_of,
)
from romancy_postgres._guard import lend
from romancy_postgres._inbox import count_mail
from romancy_postgres._judged_together import posts_judged_together
from romancy_postgres._write import (
    ChildRefusedError,
    Written,
    append_alone,
    deliver,
    explain,
    may_follow,
    write_changes,
    write_effects,
    write_steps,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncpg.transaction import Transaction

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.records import Item
    from romancy_postgres._commit import Commits
    from romancy_postgres._connection import SessionConnection
    from romancy_postgres._database import Database
    from romancy_postgres._guard import GuardedConnection
    from romancy_postgres._signals import Signals

    _AsyncpgLevel: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]

__all__ = ["PostgresSession", "open_session"]

_LEVELS: Final[dict[IsolationLevel, _AsyncpgLevel]] = {
    "read committed": "read_committed",
    "repeatable read": "repeatable_read",
    "serializable": "serializable",
}

_PRESENT: Final = frozenset({Outcome.TAKEN, Outcome.ENDED, Outcome.UNSEEN, Outcome.OWNED})
"""Reasons to refuse an append that hold of the present rows, whatever a snapshot shows."""
_SWALLOWED = (
    "a statement of this session failed and its error was swallowed, so the transaction cannot be committed; "
    "put what may fail into `async with session.savepoint()`"
)


class PostgresSession:
    """A session with a transaction of its own."""

    excluding = False
    renewed = None

    _transaction: Transaction
    """Set by `begin`: a connection may end while it is being lent."""

    def __init__(self, connection: asyncpg.Connection, database: Database, commits: Commits, signals: Signals) -> None:
        self._connection = connection
        self._database = database
        self._commits = commits
        self._signals = signals
        self._link = Link(connection, database)
        self._alone = OneAtATime()
        self._lent: GuardedConnection | None = None
        self._guard = f"romancy_{token_hex(6)}"
        """The savepoint that shows whether the transaction is still Romancy's. User code cannot know its name."""
        self._savepoints = 0
        self._snapshot = False
        """Whether all statements see the rows as they were at the first one."""
        self._torn = False
        """Whether a failed part could not be undone."""
        self.ended = False
        self.doubtful = False
        """Whether the connection may be in the middle of something, or read-only for good."""
        self._stirred: set[str] = set()
        """Instances to announce to others once this is committed."""
        self._posted: list[tuple[str, str]] = []
        """Messages in inboxes that no counter covers yet."""

    @property
    def native(self) -> asyncpg.Connection:
        """A connection inside the transaction. It cannot be used after the end."""
        self._refuse_if_ended()
        if self._lent is None:
            self._lent = lend(self._connection)
        return self._lent

    async def execute(self, sql: str, *parameters: object) -> int:
        async with self._user_statement(sql):
            return rows_touched(await self._connection.execute(sql, *parameters))

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        async with self._user_statement(sql):
            return [dict(row) for row in await self._connection.fetch(sql, *parameters)]

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:
        if not isinstance(error, DRIVER_ERRORS):
            return None
        place = raised_on(error, asyncpg.Connection, ConnectionResource)
        if isinstance(place, ConnectionResource):
            place = getattr(place, "_connection", None)
        ours = place is not None and place in (self._connection, self._lent)
        if not ours or not self._nobodys_fault(error):
            return None
        explained = self._explained(error)
        return explained if isinstance(explained, StorageUnavailableError) else None

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self._savepoints += 1
        name = f"romancy_part_{self._savepoints}"
        torn = self._torn
        async with self._user_statement():
            await self._link.control(f"savepoint {name}")
        try:
            yield
        except BaseException:
            if not self.ended:
                self._torn = True
                async with self._user_statement():
                    await self._link.control(f"rollback to savepoint {name}; release savepoint {name}")
                self._torn = torn
            raise
        async with self._user_statement():
            await self._link.control(f"release savepoint {name}")

    async def begin(self, connection: SessionConnection, isolation: IsolationLevel) -> None:
        """Open the transaction and its guarding savepoint, in one round trip."""
        self._snapshot = isolation != "read committed"
        self._transaction = connection.transaction(isolation=_LEVELS[isolation])
        settings = self._database.settings
        limit = f" set local {IDLE} = {settings.session_idle * 1000:.0f};" if not settings.engine.keeps_session else ""
        connection.opening = f"{limit} savepoint {self._guard};"
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._transaction.start()

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        await self._prepare(item, worker)
        self.let_go()
        try:
            await self._prove_ours()
            outcome, written = await self._write(item, worker)
        except DRIVER_ERRORS as error:
            await self.roll_back()
            if refuses_values(error):
                return Outcome.INVALID
            raise self._explained(error) from None
        except RomancyError:
            if not self.doubtful:
                await self.roll_back()
            raise
        if not written:
            await self.roll_back()
            return outcome
        await self._commit()
        await self.announce()
        return outcome

    async def announce(self) -> None:
        """After the commit: count the posted messages, and wake the waiting callers."""
        await count_mail(self._database, self._signals, self._posted)
        self._signals.tell(self._stirred)

    async def roll_back(self) -> None:
        """Undo everything. A transaction that the user has ended already is not an error."""
        self.let_go()
        async with self._understood(), asyncio.timeout(ANSWER_TIMEOUT):
            await self._transaction.rollback()

    def let_go(self) -> None:
        """End the user's access to the transaction. From here on, only the engine uses it."""
        self.ended = True
        if self._lent is not None:
            self.doubtful = self.doubtful or self._lent.tainted
            self._lent.end()

    async def _commit(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._transaction.commit()
        except DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.PostgresError) and not self._connection.is_closed():
                raise self._refused(error) from error
            self.doubtful = True
            raise OutcomeUnknownError(
                f"{self._database.settings.where}: the connection was lost while the session was being "
                "committed; append a row at the same seq to find out whether it was committed"
            ) from None

    async def _prove_ours(self) -> None:
        """Raise `UsageError` unless the transaction is the one that `begin` opened, and whole."""
        if self._torn:
            raise UsageError(_SWALLOWED)
        try:
            settings = local_settings(self._database.settings)
            await self._link.control(f"release savepoint {self._guard}; {settings}")
        except asyncpg.PostgresError as error:
            if transaction_gone(error):
                raise UsageError(
                    "the session's transaction was ended by user code (COMMIT, ROLLBACK or the like); nothing is "
                    "recorded. Leave that to Romancy, and use `session.savepoint()` for a part that may fail alone"
                ) from None
            if in_failed_transaction(error):
                raise UsageError(_SWALLOWED) from None
            raise
        except asyncpg.InterfaceError as error:
            if not busy(error):
                raise
            self.doubtful = True
            raise UsageError(BESIDE) from None

    async def _prepare(self, item: Item, worker: str | None) -> None:
        """Do the preparations that must be outside of the transaction."""
        self._refuse_if_ended()
        self._alone.check()
        check_batch([item], worker)
        if isinstance(item, Append):
            await self._commits.learn_sets(path_sets(firsts_of((item, *item.starts))))

    async def _write(self, item: Item, worker: str | None) -> tuple[Outcome, bool]:
        """Write the item into the open transaction. Returns the outcome and whether anything was written now."""
        outcome, written = await self._write_or_explain(item, worker)
        if outcome is Outcome.LOCKED:
            raise StorageUnavailableError(
                f"{self._database.settings.where}: rows changed while the session was committed; "
                "nothing was committed, it can be tried again"
            )
        return outcome, written

    async def _write_or_explain(self, item: Item, worker: str | None) -> tuple[Outcome, bool]:
        link = self._link
        if self._snapshot and (isinstance(item, Step) or item.create is None):
            return await self._write_beside(item, worker)
        if isinstance(item, Step):
            accepted = await write_steps(link, [item], worker) == 1
        else:
            try:
                written = await _write_carried(link, item, worker)
            except ChildRefusedError as error:
                return error.parents[item.instance_id], False
            accepted = bool(written.accepted)
            self._stirred |= written.stirred
        if accepted:
            self._post(item)
            return Outcome.ACCEPTED, True
        return (await explain(link, [item], worker))[item.instance_id], False

    async def _write_beside(self, item: Step | Append, worker: str | None) -> tuple[Outcome, bool]:
        """Write the item of a transaction that does not see what others have committed since its first statement.

        A step only takes its place. From then on no other can, and a connection of the engine sees whether the
        worker is alive and who wrote the row before. Anything else is decided by rows of the snapshot: where these are
        out of date, the session is in vain.
        """
        if isinstance(item, Step):
            accepted = await append_alone(self._link, item)
        else:
            try:
                written = await _write_carried(self._link, item, worker)
            except ChildRefusedError as error:
                return error.parents[item.instance_id], False
            accepted = bool(written.accepted)
            self._stirred |= written.stirred
        stands = await self._database.single(lambda link: may_follow(link, item, worker))
        if accepted and stands:
            self._post(item)
            return Outcome.ACCEPTED, True
        reasons = await self._database.single(lambda link: explain(link, [item], worker))
        reason = reasons[item.instance_id]
        if stands and isinstance(item, Append) and reason not in _PRESENT:
            raise StorageUnavailableError(
                f"{self._database.settings.where}: the instance changed after the session's first statement, and "
                "a session that repeats its reads does not see that; nothing was committed, it can be tried again"
            )
        return reason, False

    def _post(self, item: Step | Append) -> None:
        """Keep the messages of an accepted item, which are counted after the commit."""
        if isinstance(item, Append):
            self._posted += [(mail.instance_id, mail.delivery_id) for mail in item.deliveries]

    def _refuse_if_ended(self) -> None:
        if self.ended:
            raise UsageError(OVER)

    @asynccontextmanager
    async def _user_statement(self, sql: str = "") -> AsyncGenerator[None]:
        """Run one statement of user code, and no other at the same time."""
        self._refuse_if_ended()
        refuse_postgres_ending(sql)
        with self._alone:
            try:
                async with self._understood():
                    yield
            except asyncpg.InterfaceError as error:
                if busy(error):
                    raise UsageError(BESIDE) from None
                raise

    @asynccontextmanager
    async def _understood(self) -> AsyncGenerator[None]:
        """Leave the user's own mistakes as the driver's errors, and translate a transient failure of the server."""
        try:
            yield
        except DRIVER_ERRORS as error:
            if self._nobodys_fault(error) or isinstance(error, OSError):
                raise self._explained(error) from error
            raise

    def _refused(self, error: asyncpg.PostgresError) -> BaseException:
        """The error for a COMMIT that the server refused, mostly for a deferred constraint of the user's."""
        if self._nobodys_fault(error):
            return self._explained(error)
        return UsageError(
            f"the session's writes were refused at COMMIT: {words_of(error)} [{error.sqlstate}]; nothing is recorded. "
            "Write what the constraints allow, also those that are deferred"
        )

    def _explained(self, error: Exception) -> BaseException:
        self.doubtful = self.doubtful or read_only(error)
        return self._database.explained(error)

    def _nobodys_fault(self, error: Exception) -> bool:
        return self._connection.is_closed() or contended(error) or falls_away(error)


async def _write_carried(link: Link, item: Append, worker: str | None) -> Written:
    """Append by one statement, and put messages into inboxes by another, which must not hold up their receivers."""
    if item.create is not None or (item.postings and len(posts_judged_together(item.postings)) > 1):
        return await write_effects(link, [item], worker, in_session=True)
    if item.outbox or item.starts or item.routes or renews(item):
        try:
            written = await write_at_once(link, [item], worker, mail=False)
        except DRIVER_ERRORS as error:
            if unborn(error):
                raise ChildRefusedError({item.instance_id: Outcome.EXISTS}) from None
            raise
        if item.starts and not written.accepted:  # perhaps because of a child
            return await write_effects(link, [item], worker, in_session=True)
    else:
        written = await write_changes(link, [item], worker)
    if written.accepted and item.deliveries:
        await deliver(link, item.deliveries, "post")
    return written


@asynccontextmanager
async def open_session(
    database: Database, signals: Signals, commits: Commits, isolation: IsolationLevel
) -> AsyncGenerator[PostgresSession]:
    """A transaction for user code. It is rolled back if it was not committed."""
    connection = await database.borrow_for_session()
    session = PostgresSession(connection, database, commits, signals)
    clean = False
    try:
        async with database.understood():
            await session.begin(connection, isolation)
        try:
            yield session
        except Exception:
            clean = await _left_clean(session)
            raise
        clean = await _left_clean(session)
    finally:  # a cancelled one may be in the middle of a statement
        session.let_go()
        if clean and not connection.is_closed():
            database.sessions.give_back_after(connection, database.forget_session)
        else:
            database.sessions.discard(connection)


async def _left_clean(session: PostgresSession) -> bool:
    """Roll back. False if the connection cannot be used again, which rolls back as well."""
    try:
        if not session.ended:
            await session.roll_back()
    except (*DRIVER_ERRORS, StorageUnavailableError):
        return False
    return not session.doubtful

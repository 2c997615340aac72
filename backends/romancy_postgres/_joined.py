"""Joined sessions: writes inside the caller's transaction, on the caller's connection.

The caller alone ends the transaction. A refused item leaves it unchanged. After its commit, waiting callers are woken.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from romancy.errors import UsageError
from romancy.storage.joining import BUSY, CANNOT_WRITE, Joined
from romancy.storage.limits import check_messages
from romancy.storage.outbox import OUTBOX_NEWS
from romancy.storage.records import Delivered, Outcome
from romancy_postgres._columns import outbox_columns
from romancy_postgres._connection import as_connection
from romancy_postgres._errors import DRIVER_ERRORS, busy, in_failed_transaction, read_only, refuses_values
from romancy_postgres._foreign import Foreign, foreign
from romancy_postgres._guard import lender_of
from romancy_postgres._routes import add_messages
from romancy_postgres._sessions import PostgresSession
from romancy_postgres._write import deliver

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.errors import StorageUnavailableError
    from romancy.storage.joining import AtEnd
    from romancy.storage.records import Delivery, Item, OutboxRow
    from romancy.storage.routing import Posting
    from romancy_postgres._commit import Commits
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals
    from romancy_postgres._uncommitted import Uncommitted

__all__ = ["JoinedSession", "join_session"]

_ITEM = "romancy_item"
_A_MOMENT = 0.01
_WAITS = 500


class JoinedSession(PostgresSession):
    """Writes inside a transaction that the caller alone ends."""

    _watching = False

    @property
    def native(self) -> asyncpg.Connection:
        """The caller's connection."""
        return self._connection

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        await self._prepare(item, worker)
        try:
            await self._link.control(f"savepoint {_ITEM}")
            try:
                outcome, written = await self._write(item, worker)
            except BaseException:  # a cancelled call leaves nothing of the item in the caller's transaction
                await self._undo()
                raise
            if written:
                await self._link.control(f"release savepoint {_ITEM}")
                await self._announce_after_commit()
            else:
                await self._undo()
        except DRIVER_ERRORS as error:
            if refuses_values(error):
                return Outcome.INVALID
            raise await self._meant(error) from None
        return outcome

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        check_messages(deliveries, outbox, postings)
        async with self._understood():
            await self._link.control(f"savepoint {_ITEM}")
            try:
                if outbox:
                    await self._link.run("outbox_add", *outbox_columns(outbox))
                    self._stirred.add(OUTBOX_NEWS)
                answers = await deliver(self._link, deliveries, "post") if deliveries else []
                kept = await add_messages(self._link, postings) if postings else []
            except BaseException:
                await self._undo()
                raise
            await self._link.control(f"release savepoint {_ITEM}")
        accepted = [one for one, got in zip(deliveries, answers, strict=True) if got is Delivered.ACCEPTED]
        self._posted += [(mail.instance_id, mail.delivery_id) for mail in accepted]
        await self._announce_after_commit()
        return answers + kept

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:  # noqa: ARG002 - its owner handles errors
        return None

    async def check(self) -> None:
        """Refuse a connection on which the statements would fail, or would have another meaning."""
        async with self._understood():
            await self.check_place()

    async def check_place(self) -> None:
        """Refuse a connection that sees other tables than this store. Checked each time: a server may be replaced."""
        try:
            (theirs,) = await self._link.fetch("place")
        except asyncpg.PostgresError as error:
            if in_failed_transaction(error):
                raise UsageError(
                    "session= was given a transaction in which a statement has failed; roll it back and begin again"
                ) from None
            raise
        (ours,) = await self._database.fetch("place")
        if tuple(theirs) != tuple(ours):
            raise UsageError(
                f"session= was given a connection to another database or schema than {self._database.settings.url}; "
                "one transaction cannot span both"
            )

    async def _announce_after_commit(self) -> None:
        """Announce after the caller's commit. A query logger on the caller's connection notices it without a query."""
        if self._watching or not (self._stirred or self._posted):
            return
        self._watching = True
        connection = lender_of(self._connection)

        async def look(_: object) -> None:
            try:
                if connection.is_in_transaction():
                    return
                connection.remove_query_logger(look)
            except asyncpg.InterfaceError:
                pass  # a pool has taken it back, so its transaction is over
            await self._signals.before_close(self.announce())

        connection.add_query_logger(look)

    async def _undo(self) -> None:
        """Undo what was written. A statement of the caller's that came in between ends first."""
        for _ in range(_WAITS):
            try:
                await self._link.control(f"rollback to savepoint {_ITEM}; release savepoint {_ITEM}")
            except DRIVER_ERRORS as error:
                if not busy(error):
                    raise
                await asyncio.sleep(_A_MOMENT)
            else:
                return

    @asynccontextmanager
    async def _understood(self) -> AsyncGenerator[None]:
        try:
            yield
        except DRIVER_ERRORS as error:
            raise await self._meant(error) from None

    async def _meant(self, error: BaseException) -> BaseException:
        """The error for a caller of `session=`. A state of the connection that no repetition changes is misuse."""
        if busy(error):
            return UsageError(BUSY)
        if read_only(error):
            (standby,) = await self._connection.fetch("select pg_is_in_recovery()")
            if not standby[0]:
                return UsageError(CANNOT_WRITE)
        return self._database.explained(error)


class ForeignSession(JoinedSession):
    """The same on a connection of another driver, which does not report its commits."""

    def __init__(
        self,
        connection: Foreign,
        database: Database,
        commits: Commits,
        signals: Signals,
        uncommitted: Uncommitted,
        at_end: AtEnd | None,
    ) -> None:
        super().__init__(cast("asyncpg.Connection", connection), database, commits, signals)
        self._foreign = connection
        self._uncommitted = uncommitted
        self._at_end = at_end

    @property
    def native(self) -> Any:
        """The caller's connection."""
        return self._foreign.connection

    async def _announce_after_commit(self) -> None:
        if not (self._stirred or self._posted):
            return
        await self._uncommitted.add(self._link, self._stirred, self._posted)
        if self._at_end is not None:
            self._at_end(self._uncommitted.look_now)


@asynccontextmanager
async def join_session(
    database: Database, signals: Signals, commits: Commits, uncommitted: Uncommitted, join: object
) -> AsyncGenerator[JoinedSession]:
    """A session inside the transaction that is open on the caller's connection."""
    given = Joined.of(join)
    other = foreign(given)
    connection = as_connection(given.connection) if other is None else other
    try:
        closed = connection.is_closed()
    except asyncpg.InterfaceError:
        closed = True  # its pool has taken it back
    if closed:
        raise UsageError("session= was given a connection that cannot be used here: it is closed, or its pool's again")
    if isinstance(connection, Foreign) and connection.is_in_pipeline():
        raise UsageError("session= was given a connection in pipeline mode; leave the pipeline first")
    if not connection.is_in_transaction():
        raise UsageError(
            "session= was given a connection without a transaction; begin one: `async with connection.transaction():`"
        )
    if isinstance(connection, Foreign):
        joined: JoinedSession = ForeignSession(connection, database, commits, signals, uncommitted, given.at_end)
    else:
        joined = JoinedSession(connection, database, commits, signals)
    await joined.check()
    yield joined

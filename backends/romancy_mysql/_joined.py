"""Joined sessions: Romancy's writes inside the caller's transaction, which Romancy never ends."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiomysql
from pymysql.constants import CLIENT

from romancy.errors import InternalError, StorageUnavailableError, UsageError
from romancy.storage.joining import BUSY, CANNOT_WRITE, Joined
from romancy.storage.limits import check_batch, check_messages
from romancy.storage.records import Delivered, Outcome, Step
from romancy_mysql._cluster import caught_up
from romancy_mysql._connection import exchange
from romancy_mysql._effects import Write
from romancy_mysql._errors import (
    MismatchError,
    ReadOnlyTransactionError,
    RefusedValueError,
    SavepointGoneError,
    TransientError,
)
from romancy_mysql._explain import done_already, lives_of, look, on_delivery, on_item, on_posting
from romancy_mysql._foreign import Blocking, is_blocking
from romancy_mysql._guard import GuardedConnection
from romancy_mysql._sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.storage.joining import AtEnd
    from romancy.storage.records import Delivery, Item, OutboxRow
    from romancy.storage.routing import Posting
    from romancy_mysql._commit import Committer
    from romancy_mysql._database import Database
    from romancy_mysql._posted import Posted
    from romancy_mysql._protocol import Answer

__all__ = ["JoinedSession", "join_session"]

_BEGIN = Statement("join.begin", b"savepoint romancy_joined")
_RELEASE = b"release savepoint romancy_joined"
_UNDO = b"rollback to savepoint romancy_joined; release savepoint romancy_joined"
_PROBE = b"savepoint romancy_joined; release savepoint romancy_joined; select @@sql_mode, @@character_set_client"
_CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1", "ascii", "binary"})
"""Character sets in which no byte of another character can be read as a quote."""


class JoinedSession:
    """The caller's connection and transaction, for the length of a block."""

    excluding = False
    renewed = None

    def __init__(
        self,
        database: Database,
        committer: Committer,
        posted: Posted,
        connection: aiomysql.Connection | Blocking,
        at_end: AtEnd | None,
    ) -> None:
        self._database = database
        self._committer = committer
        self._posted = posted
        self._connection = connection
        self._at_end = at_end
        self._savepoints = 0
        self._finds_rows = bool(connection.client_flag & CLIENT.FOUND_ROWS)
        """Whether the server also counts rows that were found and not changed, as SQLAlchemy requests."""

    @property
    def native(self) -> Any:
        """The caller's connection."""
        return self._connection.connection if isinstance(self._connection, Blocking) else self._connection

    async def run(self, packet: bytes, what: str) -> list[Answer]:
        """Run a packet of Romancy's own on the caller's connection."""
        if isinstance(self._connection, GuardedConnection):
            return await self._connection.run(packet, what)
        if _is_busy(self.native):
            raise UsageError(BUSY)
        try:
            return await self._run(packet, what)
        except ReadOnlyTransactionError:
            raise UsageError(CANNOT_WRITE) from None

    async def _run(self, packet: bytes, what: str) -> list[Answer]:
        if isinstance(self._connection, Blocking):
            return await self._connection.run(packet, what, self._database.settings.where)
        return await exchange(self._connection, packet, what, self._database.settings.where)

    async def execute(self, sql: str, *parameters: object) -> int:
        if isinstance(self._connection, Blocking):
            return (await self._connection.execute(sql, parameters))[0]
        cursor = await self._connection.cursor()
        return await cursor.execute(sql, parameters or None)

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        if isinstance(self._connection, Blocking):
            return (await self._connection.execute(sql, parameters))[1]
        cursor = await self._connection.cursor(aiomysql.DictCursor)
        await cursor.execute(sql, parameters or None)
        return [dict(line) for line in await cursor.fetchall()]

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:  # noqa: ARG002 - its owner handles errors
        return None

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self._savepoints += 1
        name = b"romancy_joined_%d" % self._savepoints
        await self.run(b"savepoint " + name, "a savepoint")
        try:
            yield
        except BaseException:
            if not self._connection.closed:
                await self.run(b"rollback to savepoint " + name, "a savepoint")
            raise
        await self.run(b"release savepoint " + name, "a savepoint")

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        check_batch([item], worker)
        await self._committer.remember_paths([item])
        database = self._database
        if self._finds_rows and (isinstance(item, Step) or item.create is None):
            raise _unfit("was opened with CLIENT.FOUND_ROWS, which an append cannot use; open it without")
        earlier = await done_already(database, self._send, item, locking=True)
        write = Write(database.__getitem__, worker=worker, session=True, lives=earlier.lives)
        write.add(item, skip=earlier.done)
        try:
            statements = write.statements()
        except UnicodeEncodeError:  # half of a surrogate pair in some text
            return Outcome.INVALID
        try:
            await database.carry_out(self, [_BEGIN, *self._fitting(statements)], last=_RELEASE)
        except MismatchError:
            await self.run(_UNDO, "join")
            facts = await look(database, self._send, [item], (), worker=worker, locking=True)
            outcome = on_item(item, facts, worker)
            if outcome is None:
                raise self._try_again() from None
            return outcome
        except RefusedValueError:
            await self.run(_UNDO, "join")
            return Outcome.INVALID
        except (SavepointGoneError, TransientError):
            raise self._try_again() from None
        self._watch(write)
        return Outcome.ACCEPTED

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        check_messages(deliveries, outbox, postings)
        answers, lives = await self._standing(deliveries, postings)
        write = Write(self._database.__getitem__, session=True, lives=lives)
        write.outbox += outbox
        messages: list[Delivery | Posting] = [*deliveries, *postings]
        for number, one in enumerate(messages):
            if answers[number] is Delivered.ACCEPTED and not write.add_message(one):
                answers[number] = Delivered.DUPLICATE
        statements = write.statements()
        if statements:
            try:
                await self._database.carry_out(self, [_BEGIN, *self._fitting(statements)], last=_RELEASE)
            except MismatchError:
                await self.run(_UNDO, "join")
                raise self._try_again() from None
            except RefusedValueError:
                await self.run(_UNDO, "join")
                raise InternalError("send: the database refused a value that the limits allow") from None
            except (SavepointGoneError, TransientError):
                raise self._try_again() from None
        self._watch(write)
        return answers

    async def _standing(
        self, deliveries: Sequence[Delivery], postings: Sequence[Posting]
    ) -> tuple[list[Delivered], dict[str, int]]:
        """The answer to each message, and the lives of the receivers.

        Locks only rows of instances that this transaction's snapshot does not hold. Those are read again as they are
        now: they may have been started after the transaction began.
        """
        if not deliveries and not postings:
            return [], {}
        facts = await look(self._database, self._send, (), deliveries, postings)
        posted = [on_posting(one, facts) for one in postings]
        answers = [on_delivery(one, facts) for one in deliveries]
        if Delivered.UNKNOWN in answers:
            facts = await look(self._database, self._send, (), deliveries, locking=True)
            answers = [on_delivery(one, facts) for one in deliveries]
        return [answer or Delivered.ACCEPTED for answer in (*answers, *posted)], lives_of(facts)

    async def check(self) -> None:
        """Refuse a connection on which Romancy's statements would have another meaning."""
        try:
            *_, answer = await self.run(_PROBE, "join")
        except SavepointGoneError:
            raise _unfit("has no transaction open; call begin() first, or set autocommit to False") from None
        mode, charset = (str(value) for value in answer.rows[0])
        modes = set(mode.split(","))
        if not modes & {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"}:
            raise _unfit("is not in strict mode; add STRICT_TRANS_TABLES to its sql_mode")
        if unfit := sorted(modes & {"NO_BACKSLASH_ESCAPES", "EMPTY_STRING_IS_NULL"}):
            raise _unfit(f"has {unfit[0]} in its sql_mode; remove it")
        if charset not in _CHARSETS:
            raise _unfit(f"has the character set {charset}; open it with charset='utf8mb4'")
        engine = self._database.engine
        (theirs,) = await self.run(engine.place, "join")
        (ours,) = await self._database.insist(lambda wire: wire.run(engine.place, "join"))
        if _text(theirs.rows[0][0]) != _text(ours.rows[0][0]):
            raise _unfit(f"is to another server than {self._database.settings.where}")
        if engine.applied:  # its server may not have applied yet what this process has committed
            try:
                await caught_up(self, self._database.insist, engine.applied)
            except TimeoutError:
                raise StorageUnavailableError(f"{self._database.settings.where}: its node lags behind") from None

    def _fitting(self, statements: Sequence[Statement]) -> list[Statement]:
        """The statements as this connection counts rows: where it would count an existing row, they fail."""
        if not self._finds_rows:
            return list(statements)
        return [
            one if one.expected is None else one._replace(sql=self._database[one.name].refusing(one.sql))
            for one in statements
        ]

    def _watch(self, write: Write) -> None:
        self._posted.add((item.instance_id for item, _ in write.firsts), write.deliveries, write.postings)
        if self._at_end is not None:
            self._at_end(self._posted.look_now)

    async def _send(self, statements: Sequence[Statement]) -> list[Answer]:
        return await self._database.send(self, statements)

    def _try_again(self) -> StorageUnavailableError:
        where = self._database.settings.where
        return StorageUnavailableError(
            f"{where}: another transaction conflicts with the one that was joined; roll it back and try again"
        )


def _is_busy(connection: Any) -> bool:
    """Whether an answer is outstanding: another task waits for it, or its rows are not read to the end."""
    result = connection._result  # noqa: SLF001 - a driver of the caller's has no public name for it
    reader = getattr(connection, "_reader", None)
    return bool(result is not None and result.unbuffered_active) or getattr(reader, "_waiter", None) is not None


def _text(value: str | bytes) -> str:
    """A column as text, whatever type the connection returns."""
    return value.decode() if isinstance(value, bytes) else value


def _unfit(why: str) -> UsageError:
    return UsageError(f"session= was given a connection that {why}")


@asynccontextmanager
async def join_session(
    database: Database, committer: Committer, posted: Posted, join: object
) -> AsyncGenerator[JoinedSession]:
    """Take part in the transaction on a connection to the same server."""
    database.check_open()
    given = Joined.of(join)
    connection: Any = given.connection
    if is_blocking(connection):
        connection = Blocking(connection, given.run)
    elif not isinstance(connection, aiomysql.Connection):
        raise UsageError(
            "session= takes a connection of aiomysql or PyMySQL inside a transaction, or a session or connection of "
            f"SQLAlchemy on one of these drivers, not {type(connection).__name__}"
        )
    if connection.closed:
        raise UsageError("session= was given a connection that cannot be used here: it is closed")
    session = JoinedSession(database, committer, posted, connection, given.at_end)
    if not isinstance(connection, GuardedConnection) and _is_busy(session.native):
        raise UsageError(BUSY)
    async with AsyncExitStack() as stack:
        if isinstance(connection, Blocking):
            await stack.enter_async_context(connection.several_at_once(database.settings.where))
        await session.check()
        yield session

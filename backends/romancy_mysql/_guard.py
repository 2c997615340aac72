"""The native object of a session: a connection of the driver's that cannot end Romancy's transaction.

Forbidden methods and SQL are refused. Where SQL hides them (a procedure, DDL), the session's savepoint shows it. A
failed statement is remembered: the server continues after an error, and after a deadlock even without the transaction,
so the rest must not be committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from pymysql.err import MySQLError

from romancy.errors import UsageError
from romancy.storage.endings import BESIDE, OVER, refuse_mysql_ending
from romancy_mysql._connection import Wire

if TYPE_CHECKING:
    from romancy_mysql._protocol import Answer

__all__ = ["GuardedConnection"]


class GuardedConnection(Wire):
    """A connection lent to user code, with the socket of one from the pool."""

    over = False
    ending = False
    """Whether the session is ending: further statements are Romancy's."""
    failed = False
    """Whether a statement of the user's failed and no savepoint has undone it."""
    _ours = 0
    _busy = 0

    @classmethod
    def borrow(cls, wire: Wire) -> GuardedConnection:
        """Take over the wire's socket and state until `give_back`."""
        wire.unwatch()
        guard = cls.__new__(cls)
        guard.__dict__.update(wire.__dict__)
        wire._writer = wire._reader = None  # noqa: SLF001 - our own class
        wire.borrower = guard
        return guard

    def give_back(self, wire: Wire) -> None:
        """Return them. From here on this object refuses everything."""
        self.unwatch()
        wire.borrower = None
        left = self._result
        unread = left is not None and bool(left.has_next or left.unbuffered_active)
        wire.tainted = self.tainted or unread  # a partly read answer must not reach the next borrower
        wire._writer, wire._reader = self._writer, self._reader  # noqa: SLF001 - our own class
        wire._result = None  # noqa: SLF001
        wire.server_status = self.server_status
        self._writer = self._reader = self._result = None
        self.over = True

    async def run(self, packet: bytes, what: str) -> list[Answer]:
        """Run statements of Romancy's own."""
        self._ours += 1
        try:
            return await super().run(packet, what)
        finally:
            self._ours -= 1

    async def query(self, sql: str | bytes, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002 - the driver's signature
        """Check and run a statement. Every statement of a cursor passes here."""
        self._check_use()
        refuse_mysql_ending(sql if isinstance(sql, str) else sql.decode(errors="replace"))
        self._busy += 1
        try:
            return await super().query(sql, unbuffered)
        except MySQLError:
            self.failed = self.failed or not self._ours
            raise
        finally:
            self._busy -= 1

    async def next_result(self) -> int:
        """Read a further result. Every result passes here."""
        self._check_use()
        self._busy += 1
        try:
            return await super().next_result()
        except MySQLError:
            self.failed = self.failed or not self._ours
            raise
        finally:
            self._busy -= 1

    @property
    def busy(self) -> bool:
        """Whether an answer is outstanding. Two at a time could not be told apart."""
        return bool(self._busy or self._ours)

    def _check_use(self) -> None:
        if self.over or self.ending:
            raise UsageError(OVER)
        if self.busy:
            raise UsageError(BESIDE)

    def close(self) -> None:
        """Close, which only the driver may do, for a connection that broke while it was in use."""
        if not self._busy:
            self._refuse("close")
        super().close()

    async def ping(self, reconnect: bool = False) -> None:  # noqa: FBT001, FBT002 - the driver's signature
        if reconnect:
            self._refuse("reconnect")
        self._check_use()
        self._busy += 1
        try:
            await super().ping(reconnect=False)
        finally:
            self._busy -= 1

    async def begin(self) -> None:
        self._refuse("begin")

    async def commit(self) -> None:
        self._refuse("commit")

    async def rollback(self) -> None:
        self._refuse("roll back")

    async def ensure_closed(self) -> None:
        self._refuse("close")

    async def autocommit(self, value: bool) -> None:  # noqa: ARG002, FBT001 - the driver's signature
        self._refuse("change autocommit of")

    async def select_db(self, db: str) -> None:  # noqa: ARG002 - the driver's signature
        self._refuse("change the database of")

    async def kill(self, thread_id: int) -> None:  # noqa: ARG002 - the driver's signature
        self._refuse("kill")

    def _ensure_alive(self) -> None:
        if self.over:
            raise UsageError(OVER)
        super()._ensure_alive()

    def _refuse(self, what: str) -> NoReturn:
        if self.over:
            raise UsageError(OVER)
        raise UsageError(
            f"user code may not {what} the connection of a session: Romancy commits it together with the log; "
            "raise an exception to roll back"
        )

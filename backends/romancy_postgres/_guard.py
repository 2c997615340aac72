"""The native object of a session: a connection object of the driver's over a socket that stays Romancy's.

It shares the protocol state with the pool's connection, but has its own end. Objects that the user still holds after
the end (the connection, a method, a statement, a cursor, a coroutine that has not begun) can do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import asyncpg

from romancy.errors import UsageError
from romancy.storage.endings import OVER, not_yours, refuse_postgres_ending

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GuardedConnection", "lend", "lender_of"]

_SHARED = (
    "_top_xact", "_stmt_cache", "_stmt_exclusive_section", "_listeners", "_log_listeners", "_termination_listeners",
    "_query_loggers",
)  # fmt: skip
_LASTING = ("reset_type_codec", "set_builtin_type_codec", "set_type_codec")
"""Methods whose effect would outlive the session on its connection."""


class _Nothing:
    """Stands for the protocol of a guard after the end: refuses everything."""

    def is_connected(self) -> bool:
        return False

    def __getattr__(self, name: str) -> NoReturn:
        raise UsageError(OVER)


class GuardedConnection(asyncpg.Connection):
    """A connection lent to user code, which can neither close it nor end its transaction."""

    lender: asyncpg.Connection
    tainted = False
    """Whether the user has changed state that a later session on this connection would see."""
    over = False
    _releases = 0

    @property
    def _pool_release_ctr(self) -> int:
        """The counter that the driver compares before each use of a statement, a cursor or a transaction."""
        if self.over:
            raise UsageError(OVER)
        return self._releases

    @_pool_release_ctr.setter
    def _pool_release_ctr(self, number: int) -> None:
        self._releases = number

    def end(self) -> None:
        """Make this object, and everything that came from it, refuse all further use."""
        self.over = True
        guard: Any = self
        guard._protocol, guard._transport, guard._aborted = _Nothing(), None, True  # noqa: SLF001 - our own class
        guard._top_xact = None  # noqa: SLF001

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        refuse_postgres_ending(query)
        return await super().execute(query, *args, timeout=timeout)

    async def _get_statement(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Check a statement that is prepared. Every statement that is not sent as plain text passes here."""
        self._check_open()
        refuse_postgres_ending(query)
        parent: Any = super()
        return await parent._get_statement(query, *arguments, **options)  # noqa: SLF001 - a class of this adapter

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ARG002 - the driver's signature
        self._refuse("close()")

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ARG002 - the driver's signature
        self._refuse("reset()")

    def terminate(self) -> None:
        """Break the connection, which undoes the whole session."""
        if self.over:
            raise UsageError(OVER)
        self.lender.terminate()

    def _refuse(self, what: str) -> NoReturn:
        if self.over:
            raise UsageError(OVER)
        raise not_yours(what)

    def taint(self) -> None:
        """Record that the user changes state that a later session on this connection would see."""
        self._check_open()
        self.tainted = True

    def _check_open(self) -> None:
        if self.over:
            raise UsageError(OVER)
        parent: Any = super()
        parent._check_open()  # noqa: SLF001 - as above

    def _maybe_gc_stmt(self, statement: Any) -> None:
        """Let the lender close a statement that the user has dropped, perhaps long after the end."""
        lender: Any = self.lender
        lender._maybe_gc_stmt(statement)  # noqa: SLF001 - as above


def _tainting(name: str) -> Callable[..., Any]:
    async def call(guard: GuardedConnection, *arguments: Any, **options: Any) -> Any:
        guard.taint()
        return await getattr(asyncpg.Connection, name)(guard, *arguments, **options)

    return call


for _name in _LASTING:
    setattr(GuardedConnection, _name, _tainting(_name))


def lend(connection: asyncpg.Connection) -> GuardedConnection:
    """A second connection object over the same socket, for the length of the session."""
    lender: Any = connection
    guard = GuardedConnection(
        lender._protocol,  # noqa: SLF001 - the driver has no public call for this
        lender._transport,  # noqa: SLF001
        lender._loop,  # noqa: SLF001
        lender._addr,  # noqa: SLF001
        lender._config,  # noqa: SLF001
        lender._params,  # noqa: SLF001
    )
    guard.lender = connection
    for name in _SHARED:
        setattr(guard, name, getattr(lender, name))
    return guard


def lender_of(connection: asyncpg.Connection) -> asyncpg.Connection:
    """The connection that outlives the session if this one was lent; else the connection itself."""
    # Not `isinstance`, which the driver answers with yes for every connection.
    return connection.lender if type(connection) is GuardedConnection else connection

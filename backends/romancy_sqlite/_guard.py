"""The connection inside a session: everything a user may do to a database except ending Romancy's transaction.

SQLite asks an authorizer about every statement it compiles, so that COMMIT is refused however it is spelled and
whichever library sends it; and no statement starts once the transaction is gone (`insert or rollback`, a full disk),
when it would commit by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

from romancy.errors import UsageError
from romancy_sqlite._driver import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SAVEPOINT", "GuardedConnection"]

SAVEPOINT = "romancy_session"
_ALLOW, _DENY = 0, 1
_AUTH = 23
_TRANSACTION, _ATTACH, _DETACH, _SAVEPOINT = 22, 24, 25, 32

_ENDING = (
    "session: the transaction is Romancy's, which commits it together with the log; "
    "leave out commit, rollback and close, and use savepoint() for a part that may fail alone"
)
_LOST = (
    "session: the transaction has been rolled back by a statement or an error of the database, and nothing of it "
    "will be kept; let the error out instead of going on after it"
)
_ATTACHING = "session: another file cannot take part in this transaction; open a connection of your own to it"
OVER = "session: it has ended; open another one"


class GuardedConnection(sqlite3.Connection):
    """A connection whose transaction belongs to somebody else."""

    _in_use = False
    _refusal: str | None = None
    over: str | None = None
    """Why nothing can be done here any more."""

    def hand_over(self) -> None:
        """The transaction is open, and the user may use it."""
        self.touched: set[str] = set()
        self._in_use = True
        super().set_authorizer(self._authorize)

    def take_back(self) -> sqlite3.Cursor:
        """Romancy alone uses it from now on, by a cursor that none of the user's settings touches."""
        self._in_use = False
        super().set_authorizer(None)
        self.text_factory = str
        cursor = sqlite3.Cursor(self)
        cursor.row_factory = None
        return cursor

    def really_close(self) -> None:
        """Roll back what is open and close."""
        self.over = self.over or OVER
        super().set_authorizer(None)
        if self.in_transaction:
            sqlite3.Cursor(self).execute("rollback")
        super().close()

    def _authorize(self, action: int, _: str | None, second: str | None, *__: str | None) -> int:
        if self.over is not None or not self.in_transaction:
            self._refusal = self.over or _LOST
        elif action == _TRANSACTION or (action == _SAVEPOINT and second == SAVEPOINT):
            self._refusal = _ENDING
        elif action in (_ATTACH, _DETACH):
            self._refusal = _ATTACHING
        else:
            return _ALLOW
        return _DENY

    def check(self) -> None:
        """Refuse to go on when there is no transaction to go on in."""
        if self.over is not None:
            raise UsageError(self.over)
        if self._in_use and not self.in_transaction:
            raise UsageError(_LOST)

    def explained(self, error: Exception) -> Exception:
        """The refusal in plain words, if an error is one of the authorizer's."""
        if getattr(error, "sqlite_errorcode", None) == _AUTH and self._refusal is not None:
            return UsageError(self._refusal)
        return error

    def cursor(self, factory: Any = None) -> Any:
        del factory  # a cursor of another kind would not say what is refused
        if self.over is not None:
            raise UsageError(self.over)
        return super().cursor(GuardedCursor)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: GuardedCursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        cursor: GuardedCursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> NoReturn:  # noqa: ARG002 - the driver's signature
        raise UsageError("session: executescript commits before it begins; send the statements one by one")

    def commit(self) -> NoReturn:
        raise UsageError(_ENDING)

    def rollback(self) -> NoReturn:
        raise UsageError(_ENDING)

    def close(self) -> NoReturn:
        raise UsageError(_ENDING)

    def set_authorizer(self, authorizer_callback: Any) -> NoReturn:  # noqa: ARG002 - the driver's signature
        raise UsageError("session: the authorizer is what guards this transaction; it cannot be replaced")

    def __enter__(self) -> NoReturn:
        raise UsageError(_ENDING)


class GuardedCursor(sqlite3.Cursor):
    """A cursor that says in plain words what its connection refuses."""

    def execute(self, sql: str, parameters: Any = (), /) -> GuardedCursor:
        guard = cast("GuardedConnection", self.connection)
        guard.check()
        try:
            super().execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise guard.explained(error) from error
        return self

    def executemany(self, sql: str, seq_of_parameters: Iterable[Any], /) -> GuardedCursor:
        guard = cast("GuardedConnection", self.connection)
        guard.check()
        try:
            super().executemany(sql, seq_of_parameters)
        except sqlite3.DatabaseError as error:
            raise guard.explained(error) from error
        return self

    def executescript(self, sql_script: str, /) -> NoReturn:
        cast("GuardedConnection", self.connection).executescript(sql_script)

"""The connection inside a session: a user may do everything except end Romancy's transaction.

SQLite asks an authorizer about every statement it compiles, so that COMMIT is refused however it is spelled and
whichever library sends it. Once the transaction is gone (`insert or rollback`, a full disk), no statement starts,
because it would commit by itself.
"""

from __future__ import annotations

import secrets
import sys
import threading
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast
from weakref import WeakValueDictionary, ref

from msgspec import Struct

from romancy.errors import RomancyError, UsageError
from romancy.storage.endings import OVER as ENDED
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = [
    "BEGIN",
    "BEGIN_GUARD",
    "BEGIN_WHOLE",
    "COMMIT",
    "END_GUARD",
    "OVER",
    "GuardedConnection",
    "Reason",
    "references",
]

_SECRET = secrets.token_hex(8)
"""The driver caches compiled statements by their text, and SQLite asks the authorizer only when it compiles one. A
statement of Romancy's must therefore not have a text that the user can send.
"""
_SAVEPOINT_NAME = "romancy_session"
BEGIN = f"begin immediate -- {_SECRET}"
_WHOLE_NAME = "romancy_session_whole"
BEGIN_WHOLE = f"savepoint {_WHOLE_NAME} -- {_SECRET}"
_UNDO_WHOLE = f"rollback to {_WHOLE_NAME} -- {_SECRET}"
BEGIN_GUARD = f"savepoint {_SAVEPOINT_NAME} -- {_SECRET}"
END_GUARD = f"release {_SAVEPOINT_NAME} -- {_SECRET}"
COMMIT = f"commit -- {_SECRET}"
_ROLLBACK = f"rollback -- {_SECRET}"

_ALLOW, _DENY = 0, 1
_AUTH = 23
_TEMPORARY = frozenset({3, 4, 5, 6, 29})  # create temp index, table, trigger, view; a virtual table may be temporary
_PRAGMA, _TRANSACTION, _ATTACH, _DETACH, _SAVEPOINT = 19, 22, 24, 25, 32
_ASKING = frozenset({
    "foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo", "integrity_check",
    "quick_check", "table_info", "table_list", "table_xinfo",
})  # fmt: skip
_LASTING = (
    "create_aggregate", "create_collation", "create_function", "create_window_function", "deserialize",
    "enable_load_extension", "load_extension", "set_progress_handler", "set_trace_callback", "setconfig", "setlimit",
)  # fmt: skip
"""Methods whose effect would outlive the session on its connection."""


class Reason(Struct, frozen=True):
    """Why something is refused."""

    kind: type[RomancyError]
    text: str

    def error(self) -> RomancyError:
        """A new error for each caller."""
        return self.kind(self.text)


_ENDING: Final = Reason(
    UsageError,
    "session: the transaction is Romancy's, which commits it together with the log; "
    "leave out commit, rollback and close, and use savepoint() for a part that may fail alone",
)
_LOST: Final = Reason(
    UsageError,
    "session: the transaction has been rolled back by a statement or an error of the database, and nothing of it "
    "will be kept; let the error out instead of going on after it",
)
_ATTACHING: Final = Reason(
    UsageError, "session: another file cannot take part in this transaction; open a connection of your own to it"
)
OVER: Final = Reason(UsageError, ENDED)
_AGAIN: Final = 0.1
"""Seconds after which a statement that still runs is interrupted again."""


class GuardedConnection(sqlite3.Connection):
    """A connection whose transaction belongs to Romancy."""

    over: Reason | None = None
    """Why nothing more can be done here."""
    busy: threading.RLock
    """Held by the thread that is inside SQLite."""
    lost: Reason | None = None
    """The disk's error when it ended the transaction."""
    touched: set[str]
    """Instances to announce to others once this is committed."""
    tainted = False
    """Whether the user has changed state that a later session on this connection would see."""
    alone = 0
    """What `references` returns while exactly one variable holds the connection."""
    _in_use = False
    _refusal: Reason | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._path = Path(arguments[0])
        self.busy = threading.RLock()
        self.touched = set()
        self._opened: WeakValueDictionary[int, Any] = WeakValueDictionary()
        itself = ref(self)

        def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
            guard = itself()
            return _DENY if guard is None else guard.judge(action, first, second)

        super().set_authorizer(authorize)

    def hand_over(self) -> None:
        """Give the open transaction to the user."""
        self.touched = set()
        self.tainted = False
        self.lost = None
        self._in_use = True

    @contextmanager
    def take_back(self) -> Generator[sqlite3.Cursor]:
        """Reserve the connection for Romancy, with a cursor that no setting of the user's affects."""
        with self.busy:
            self.check()
            self._in_use = False
            self.text_factory = str
            self._close_cursors()
            cursor = sqlite3.Cursor(self)
            cursor.row_factory = None
            try:
                yield cursor
            finally:
                self.over = self.over or OVER
                self._in_use = True

    def end(self, reason: Reason, parting: Callable[[sqlite3.Cursor], bool] | None = None) -> bool:
        """Roll back the open transaction, once no statement of the user's is running.

        `parting` writes something that is committed before any other writer can write. Returns whether it was committed
        and `parting` returned True.
        """
        self.over = reason
        done = False
        self._wait_for_the_user()
        try:
            self._in_use = False
            self._close_cursors()
            if super().in_transaction and parting is not None:
                done = self._part(parting)
            self.roll_back()
            self._in_use = True
        finally:
            self.busy.release()
        return done

    def _wait_for_the_user(self) -> None:
        """Enter once no statement of the user runs. An interrupt that comes before a statement begins is lost."""
        while not self.busy.acquire(timeout=_AGAIN):
            self.interrupt()

    def roll_back(self) -> None:
        """Romancy's own rollback, if there is a transaction."""
        if super().in_transaction:
            sqlite3.Cursor(self).execute(_ROLLBACK)

    def _close_cursors(self) -> None:
        """Close what the user has opened. Half-read, it keeps an interrupt in force, and no rollback succeeds then."""
        for opened in self._opened.valuerefs():
            cursor = opened()
            if cursor is not None:
                with suppress(sqlite3.Error):
                    cursor.close()

    def _part(self, parting: Callable[[sqlite3.Cursor], bool]) -> bool:
        cursor = sqlite3.Cursor(self)
        try:
            cursor.execute(_UNDO_WHOLE)
            done = parting(cursor)
            cursor.execute(COMMIT)
        except sqlite3.Error:
            return False
        return done

    def renew(self) -> None:
        """Prepare the connection for another session. No other reference to it may exist."""
        self.row_factory = None
        self.text_factory = str
        self.over = None
        self._in_use = False
        if self.isolation_level is not None:
            self.isolation_level = None

    def really_close(self) -> None:
        """Close the connection, which user code cannot do."""
        self.over = self.over or OVER
        with self.busy:
            super().close()

    @property
    def in_transaction(self) -> bool:
        with self.busy:  # SQLite may let it wait for a running statement, and every thread of the process with it
            if self.over is not None:
                raise self.over.error()
            return super().in_transaction

    def judge(self, action: int, first: str | None, second: str | None) -> int:
        """Whether a statement may do this. SQLite asks while it compiles the statement."""
        if not self._in_use:
            return _ALLOW
        if action in _TEMPORARY or (action == _PRAGMA and second is not None and first not in _ASKING):
            self.tainted = True
        if self.over is not None or not super().in_transaction:
            self._refusal = self.over or _LOST
        elif action == _TRANSACTION or (action == _SAVEPOINT and second in (_SAVEPOINT_NAME, _WHOLE_NAME)):
            self._refusal = _ENDING
        elif action in (_ATTACH, _DETACH):
            self._refusal = _ATTACHING
        else:
            return _ALLOW
        return _DENY

    def check(self) -> None:
        """Raise an error if there is no transaction to continue in."""
        if self.over is not None:
            raise self.over.error()
        if self._in_use and not super().in_transaction:
            raise (self.lost or _LOST).error()

    def explained(self, error: Exception) -> Exception:
        """The error in plain words for what the authorizer refused, or for a failing disk; else unchanged."""
        if getattr(error, "sqlite_errorcode", None) == _AUTH and self._refusal is not None:
            return self._refusal.error()
        trouble = unavailable(error, self._path)
        if trouble is None:
            return error
        self.lost = Reason(type(trouble), str(trouble))
        return trouble

    def cursor(self, factory: Any = None) -> Any:
        del factory  # a cursor of another class would not explain a refusal
        if self.over is not None:
            raise self.over.error()
        cursor: GuardedCursor = super().cursor(GuardedCursor)
        self._opened[id(cursor)] = cursor
        return cursor

    def blobopen(self, *arguments: Any, **options: Any) -> Any:
        self.check()
        blob = super().blobopen(*arguments, **options)
        self._opened[id(blob)] = blob
        return blob

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: GuardedCursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        cursor: GuardedCursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> NoReturn:  # noqa: ARG002 - the driver's signature
        raise UsageError("session: executescript commits before it begins; send the statements one by one")

    def backup(self, *_: Any, **__: Any) -> NoReturn:
        raise UsageError(
            "session: a backup would wait for the end of this very transaction; make it from a connection of your own"
        )

    def commit(self) -> NoReturn:
        raise _ENDING.error()

    def rollback(self) -> NoReturn:
        raise _ENDING.error()

    def close(self) -> NoReturn:
        raise _ENDING.error()

    def set_authorizer(self, authorizer_callback: Any) -> NoReturn:  # noqa: ARG002 - the driver's signature
        raise UsageError("session: the authorizer guards this transaction and cannot be replaced")

    def __enter__(self) -> NoReturn:
        raise _ENDING.error()


def _tainting(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(connection: GuardedConnection, *arguments: Any, **options: Any) -> Any:
        connection.tainted = True
        return method(connection, *arguments, **options)

    return call


for _name in _LASTING:
    if hasattr(sqlite3.Connection, _name):
        setattr(GuardedConnection, _name, _tainting(getattr(sqlite3.Connection, _name)))


def references(held: list[GuardedConnection]) -> int:
    """How many references there are to the one connection in a list.

    Taken out of a list, it is counted alike everywhere. A variable is not always: from Python 3.14 on the call
    `getrefcount(variable)` may borrow the variable's reference, or add one.
    """
    return sys.getrefcount(held[0])


class GuardedCursor(sqlite3.Cursor):
    """A cursor that explains its connection's refusals, and is used by one thread at a time.

    Two threads inside one connection can wait for each other for ever: one for Python, one for SQLite.
    """

    def close(self) -> None:
        """Close it, as one thread. While one is inside `close`, another one would free the statement that it resets."""
        with cast("GuardedConnection", self.connection).busy:
            super().close()

    def execute(self, sql: str, parameters: Any = (), /) -> GuardedCursor:
        guard = cast("GuardedConnection", self.connection)
        with guard.busy:
            guard.check()
            try:
                super().execute(sql, parameters)
            except sqlite3.DatabaseError as error:
                raise guard.explained(error) from error
        return self

    def executemany(self, sql: str, seq_of_parameters: Iterable[Any], /) -> GuardedCursor:
        guard = cast("GuardedConnection", self.connection)
        with guard.busy:
            guard.check()
            try:
                super().executemany(sql, seq_of_parameters)
            except sqlite3.DatabaseError as error:
                raise guard.explained(error) from error
        return self

    def executescript(self, sql_script: str, /) -> NoReturn:
        cast("GuardedConnection", self.connection).executescript(sql_script)

    def fetchone(self) -> Any:
        guard = cast("GuardedConnection", self.connection)
        with guard.busy:
            guard.check()
            return super().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        guard = cast("GuardedConnection", self.connection)
        with guard.busy:
            guard.check()
            return super().fetchmany(self.arraysize if size is None else size)

    def fetchall(self) -> list[Any]:
        guard = cast("GuardedConnection", self.connection)
        with guard.busy:
            guard.check()
            return super().fetchall()

    def __next__(self) -> Any:
        guard = cast("GuardedConnection", self.connection)
        with guard.busy:
            guard.check()
            return super().__next__()

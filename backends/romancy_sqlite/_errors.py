"""Translates SQLite's errors for callers of the store. Only this file knows SQLite's error codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from romancy.errors import InternalError, StorageConfigurationError, StorageError, StorageUnavailableError
from romancy_sqlite._driver import sqlite3

if TYPE_CHECKING:
    from pathlib import Path

AnyError = TypeVar("AnyError", bound=BaseException)

__all__ = ["is_busy", "is_item_fault", "is_read_only", "is_stale", "is_uncertain", "translate", "unavailable"]

_BUSY, _LOCKED, _NOMEM, _READONLY, _INTERRUPT, _IOERR, _CORRUPT = 5, 6, 7, 8, 9, 10, 11
_FULL, _CANTOPEN, _PROTOCOL, _SCHEMA, _TOOBIG, _CONSTRAINT, _MISMATCH, _NOTADB = 13, 14, 15, 17, 18, 19, 20, 26
_ERROR, _PERM, _AUTH = 1, 3, 23
_BUSY_SNAPSHOT = 517

_WAIT = frozenset({_BUSY, _LOCKED, _PROTOCOL, _SCHEMA})
_ITEM = frozenset({_TOOBIG, _CONSTRAINT, _MISMATCH})

_ADVICE = {
    _NOMEM: "SQLite ran out of memory; free some",
    _IOERR: "reading or writing failed; look at the disk and at limits on the size of files",
    _FULL: "the disk that holds it is full; free some space",
    _CANTOPEN: "the file or its -wal and -shm companions cannot be opened; look at the folder, its permissions "
    "and the limit of open files",
    _INTERRUPT: "the statement was interrupted",
    _PERM: "access was denied; give this user permission to the file",
    _AUTH: "access was denied; give this user permission to the file",
    _READONLY: "the file, its folder or the disk is read-only, or the file was moved or deleted while open; "
    "Romancy must be able to write",
    _CORRUPT: "the file is damaged; restore it from a backup",
    _NOTADB: "this is not an SQLite database; name another file",
}
_PERMANENT = frozenset({_PERM, _AUTH, _READONLY, _CORRUPT, _NOTADB, _CANTOPEN})
"""Errors on opening that are permanent. Later, the same codes concern a database that had worked."""


def _code(error: BaseException) -> int:
    code = int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
    # SQLite has no separate code for a first page whose format field is damaged.
    return _CORRUPT if code == _ERROR and "unsupported file format" in str(error) else code


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds the file for a moment: the same statement will work later."""
    return isinstance(error, sqlite3.OperationalError) and _code(error) in _WAIT


def is_stale(error: BaseException) -> bool:
    """Whether a transaction that has read can no longer write, however long it waits. Not every driver reports it."""
    return getattr(error, "sqlite_errorcode", 0) == _BUSY_SNAPSHOT


def is_read_only(error: BaseException) -> bool:
    """Whether the connection, the file or the disk takes no writes."""
    return _code(error) == _READONLY


def is_uncertain(error: BaseException) -> bool:
    """Whether a COMMIT that failed like this may yet be in the file after a crash."""
    return _code(error) == _IOERR


def is_item_fault(error: BaseException) -> bool:
    """Whether only the values of one item are at fault (half a surrogate pair, an integer over 64 bits, …)."""
    if isinstance(error, (UnicodeError, OverflowError)):
        return True
    return isinstance(error, sqlite3.Error) and (
        _code(error) in _ITEM or isinstance(error, (sqlite3.InterfaceError, sqlite3.DataError))
    )


def translate(error: AnyError, path: Path, *, opening: bool = False) -> AnyError | StorageError | InternalError:
    """The error for a caller of the store. An error that is not the driver's stays unchanged."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = _code(error)
    if is_busy(error):
        return StorageUnavailableError(
            f"SQLite file {path}: other processes kept it locked for too long; look for a long transaction "
            "or raise lock_timeout in the storage URL"
        )
    if code in _ADVICE:
        kind = StorageConfigurationError if opening and code in _PERMANENT else StorageUnavailableError
        return kind(f"SQLite file {path}: {_ADVICE[code]} ({error})")
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StorageUnavailableError(f"SQLite file {path}: the store was closed during the call")
    return InternalError(f"SQLite file {path}: {type(error).__name__}: {error}")


def unavailable(error: Exception, path: Path) -> StorageError | None:
    """The error for a session whose statement met a full or failing disk. None for other errors."""
    if _code(error) not in (_FULL, _IOERR):
        return None
    return StorageUnavailableError(f"SQLite file {path}: {_ADVICE[_code(error)]} ({error})")

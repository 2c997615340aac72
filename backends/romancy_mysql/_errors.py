"""Translates the servers' errors for a caller of the store. Only this file and the engines know error numbers.

The text of a server's error is repeated only where it cannot hold data of the user's. For a duplicate key, a wrong
value or a syntax error it quotes the statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# By name, here and elsewhere: after `pymysql.install_as_MySQLdb()`, `import MySQLdb.converters` (Django does) makes a
# second module of errors and puts it in the place of the attribute `pymysql.err`.
from pymysql.err import InterfaceError, MySQLError

from romancy.errors import InternalError, StorageConfigurationError, StorageUnavailableError
from romancy_mysql.engines import ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "TOLD_BY_THE_SERVER",
    "WHOLE",
    "ConnectionLostError",
    "DetachedNodeError",
    "HeldError",
    "LockWaitError",
    "MismatchError",
    "ReadOnlyServerError",
    "ReadOnlyTransactionError",
    "RefusedValueError",
    "SavepointGoneError",
    "ServerRefusalError",
    "TransientError",
    "UnpreparedError",
    "already_there",
    "code_of",
    "overran",
    "translate",
]


WHOLE = "romancy_whole"
"""The savepoint at the beginning of a transaction, which must still exist at its end."""


class TransientError(Exception):
    """Another transaction interfered (deadlock, lock wait, conflict). The same transaction will work later."""


class LockWaitError(TransientError):
    """A row stayed locked for the whole lock wait."""


class HeldError(TransientError):
    """Another transaction holds a row that a statement would not wait for."""


class MismatchError(Exception):
    """A statement touched fewer rows than it must: an item is refused, and nothing was written."""


class RefusedValueError(Exception):
    """The database refuses a value of this transaction. Without the faulty item the rest would go in."""


class SavepointGoneError(Exception):
    """The savepoint of a session does not exist, so the transaction that held it has ended."""


class UnpreparedError(Exception):
    """The statement is not prepared on this connection. Nothing was done."""


class ServerRefusalError(StorageUnavailableError):
    """The server refused the statement for now. It had no effect."""


class DetachedNodeError(ServerRefusalError):
    """The server is a node that its cluster has lost, and refuses everything. Another node may be reached instead."""


class ReadOnlyServerError(ServerRefusalError):
    """The server takes no writes: it is a replica, or was told to."""


class ReadOnlyTransactionError(ServerRefusalError):
    """The transaction was begun to read only, whatever the server takes."""


class ConnectionLostError(StorageUnavailableError):
    """The connection broke before the answer came. The statements may or may not have taken effect."""

    maybe_written = True


TOLD_BY_THE_SERVER = (
    TransientError,
    MismatchError,
    RefusedValueError,
    SavepointGoneError,
    UnpreparedError,
    ServerRefusalError,
    StorageConfigurationError,
    InternalError,
)
"""Errors that are answers of the server: the connection is in order."""

_NO_SAVEPOINT = 1305
_READ_ONLY_TRANSACTION = 1792
_PRIVATE: Mapping[int, type[Exception]] = {
    1205: LockWaitError,
    3572: HeldError,
    1048: MismatchError,  # a NULL where none is allowed
    1062: MismatchError,  # a row of an append that was sent before
    1242: MismatchError,  # two rows where one is allowed
    _NO_SAVEPOINT: SavepointGoneError,
    1243: UnpreparedError,  # a proxy now leads to another server
    1615: UnpreparedError,  # the tables changed again and again
    **dict.fromkeys(ERRORS.mismatches, MismatchError),
}
_TRANSIENT = ERRORS.transient | {1213, 1020, 3101, 1180, 1637, 3058}
_VALUE = ERRORS.refused_values | {1153, 1264, 1265, 1292, 1300, 1366, 1406, 1690, 3140, 3141, 3157, 4025, 4038}
_UNSPECIFIC = 1105
"""The number of all errors that have none of their own. Some engines tell such a one of what has a number elsewhere."""
_WAITED = "lock wait timeout"
_KNOWN_BY_WORDS = frozenset({_UNSPECIFIC}).union(*(one.numbers for one in ERRORS.worded))
_LOST = frozenset({2006, 2013, 2014, 2055, 1053, 1077, 1079, 1080, 1317, 1927, 3169, 4031})
_READ_ONLY = "the server takes no writes now (read-only); Romancy continues when it does"
_UNAVAILABLE: Mapping[int, str] = {
    2002: "the server cannot be reached; is it running, and are host and port right?",
    2003: "the server cannot be reached; is it running, and are host and port right?",
    2005: "the server's name cannot be resolved; correct it in the URL",
    1040: "the server has no free connection; raise its max_connections or lower `pool_size` in the URL",
    1203: "this user has no free connection; raise the limit or lower `pool_size` in the URL",
    1226: "this user has exhausted a limit of the server",
    1129: "the server has blocked this host after failed connections; FLUSH HOSTS there",
    1158: "the network failed",
    1159: "the network was too slow for the server",
    1160: "the network failed",
    1161: "the network was too slow for the server",
    1290: _READ_ONLY,
    1836: _READ_ONLY,
    1792: _READ_ONLY,
    1021: "the server's disk is full; free some space",
    1114: "a table or the server's disk is full; free some space",
    1037: "the server ran out of memory",
    1038: "the server ran out of memory",
    1041: "the server ran out of memory",
    1135: "the server cannot start a thread for this connection",
    3024: "the server's max_execution_time cut the statement",
    1969: "the server's max_statement_time cut the statement",
    1023: "the server could not write to its disk",
    1026: "the server could not write to its disk",
    1030: "the server's storage engine failed",
    1034: "the server's storage engine failed",
    **ERRORS.unavailable,
}
_REFUSALS: Mapping[int, type[ServerRefusalError]] = {
    1290: ReadOnlyServerError,
    1836: ReadOnlyServerError,
    _READ_ONLY_TRANSACTION: ReadOnlyTransactionError,
    **dict.fromkeys(ERRORS.detached, DetachedNodeError),
}
_OVERRUN = ERRORS.overruns | {3024, 1969}
_CONFIGURATION: Mapping[int, str] = {
    1044: "this user may not use this database; GRANT it",
    1045: "user or password is wrong",
    1698: "user or password is wrong",
    1049: "there is no such database; create it",
    1130: "this user may not connect from this host; CREATE USER for it",
    1142: "this user lacks a permission on a table; GRANT it",
    1143: "this user lacks a permission on a column; GRANT it",
    1227: "this user lacks a permission; GRANT it",
    1370: "this user lacks a permission; GRANT it",
    1146: "a table is missing; open the store with migrations",
    1054: "a column is missing; open the store with migrations",
    1251: "the server asks for an authentication method the driver does not know",
    2054: "the server asks for an authentication method the driver does not know",
    2059: "the server asks for an authentication method the driver does not know",
    1665: "binlog_format=STATEMENT cannot be used with READ COMMITTED; set it to ROW",
    1862: "the password has expired",
    1820: "the password has expired",
    3159: "the server wants TLS; add tls=require to the URL",
    4052: "the account is locked",
    3118: "the account is locked",
    **ERRORS.misconfigured,
}
# Errors of a migration step that was done before by a process that died before it recorded the step.
_DONE_BEFORE = frozenset({1050, 1060, 1061, 1091})
_OF_FILES = range(1, 1000)
"""Errors of the server's own file system layer."""
_FILE_FAILED = (
    "the server failed on a file of its own; look at its log and its disk, and see that no other server has the "
    "same tmpdir"
)


def code_of(error: BaseException) -> int:
    """The error number of the server or the driver; 0 if there is none."""
    first = error.args[0] if isinstance(error, MySQLError) and error.args else 0
    return first if isinstance(first, int) else 0


def overran(error: BaseException) -> bool:
    """Whether a statement exceeded a limit of time or memory, for which a user's statement is itself at fault."""
    return code_of(error) in _OVERRUN


def already_there(error: BaseException) -> bool:
    """Whether the error shows that a step of a migration was done before."""
    return code_of(error) in _DONE_BEFORE


def translate(error: MySQLError, what: str, where: str) -> Exception:
    """The error to raise for an error of the driver, met by statement `what` on server `where`."""
    code = code_of(error)
    if code == _NO_SAVEPOINT and WHOLE in str(error):
        return TransientError(what, code)
    if (private := _PRIVATE.get(code)) is not None:
        return private(what)
    if code in _TRANSIENT:
        return TransientError(what, code)
    if code in _VALUE:
        return RefusedValueError(what, code)
    if code in _KNOWN_BY_WORDS and (told := _told_by_words(code, str(error), what, where)) is not None:
        return told
    if code in _LOST or isinstance(error, InterfaceError):
        return ConnectionLostError(f"{where}: the connection broke during {what} (error {code})")
    refusal = _FILE_FAILED if code in _OF_FILES else _UNAVAILABLE.get(code)
    if refusal is not None:
        return _REFUSALS.get(code, ServerRefusalError)(f"{where}: {refusal} (error {code} in {what})")
    if code in _CONFIGURATION:
        return StorageConfigurationError(f"{where}: {_CONFIGURATION[code]} (error {code} in {what})")
    return InternalError(f"{where}: statement {what} failed with error {code} ({type(error).__name__})")


def _told_by_words(code: int, text: str, what: str, where: str) -> Exception | None:
    """The error for one whose number does not say enough, if its words are known."""
    if code == _UNSPECIFIC and _WAITED in text.lower():
        return LockWaitError(what)
    for one in ERRORS.worded:
        if code in one.numbers and one.phrase in text:
            kind = ConnectionLostError if one.means == "lost" else StorageConfigurationError
            return kind(f"{where}: {one.told.format(what=what, code=code)}")
    return None

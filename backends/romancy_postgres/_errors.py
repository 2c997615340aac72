"""Translates the driver's errors for a store: wait and retry, come back later, or correct the configuration.

Only this file knows SQLSTATEs. Messages name the server by its URL without the password, and repeat the server's own
text only where it cannot hold data.
"""

from __future__ import annotations

import asyncio

from asyncpg import InterfaceError, InternalClientError, PostgresError
from asyncpg.exceptions import TargetServerAttributeNotMatched

from romancy.errors import InternalError, StorageConfigurationError, StorageUnavailableError
from romancy.storage.sqlkit.statements import LockedError
from romancy_postgres.engines import ERRORS

__all__ = [
    "DRIVER_ERRORS",
    "RefusedValueError",
    "UnbornError",
    "busy",
    "contended",
    "falls_away",
    "forgotten",
    "in_failed_transaction",
    "overtaken",
    "read_only",
    "refuses_values",
    "transaction_gone",
    "translated",
    "unborn",
    "waited_in_vain",
    "words_of",
]

DRIVER_ERRORS = (PostgresError, InterfaceError, InternalClientError, OSError, TimeoutError, asyncio.IncompleteReadError)
"""All exceptions that a call of the driver may raise because of the server or the network."""

_LOCK_NOT_AVAILABLE = "55P03"
_CONTENDED = frozenset({"40001", "40P01", _LOCK_NOT_AVAILABLE})
_IN_FAILED_TRANSACTION = "25P02"
_NO_TRANSACTION = frozenset({"25P01", "3B001"})
_READ_ONLY = "25006"
_DIVISION_BY_ZERO = "22012"
_UNIQUE_VIOLATION = "23505"
_KEY_OF_MESSAGES = "messages_pkey"
_AWAY_CLASSES = ("08", "53", "57", "58")
_AWAY = frozenset({_READ_ONLY, "25P03"})
_UNANSWERED = frozenset({"57P01", "57P02", "58030"})
"""States, beside those of class 08, after which a statement may have taken effect."""
_AWAY_FOR_USERS = frozenset({_READ_ONLY, "25P03", "53100", "53300", "57P01", "57P02", "57P03", "58030"})
_VALUE_CLASSES = ("22", "23", "54")
_FORGOTTEN = frozenset({"26000", "42P05"})
_RESTATED = frozenset(one.state for one in ERRORS.restated)

_CONFIGURATION = {
    "28P01": "the password is wrong for this user; check it in the URL, PGPASSWORD or ~/.pgpass",
    "28000": "the server does not let this user in from here; check the user's name, pg_hba.conf and sslmode",
    "3D000": "the database does not exist; create it with CREATE DATABASE or name another one in the URL",
    "3F000": "the schema does not exist and could not be created; create it or name another one by schema=…",
    "42501": "this role lacks a privilege; see the manual's page on least privilege for what a role needs",
    "42P01": "a table of the schema is missing; `romancy migrate` makes it",
    "42703": "a column is missing; the tables of this prefix are not of this version of Romancy",
    "42883": "a function of the schema is missing; `romancy migrate` makes it",
    "0A000": "the server does not support what is needed; PostgreSQL 13 or newer is",
}


class ConnectionLostError(StorageUnavailableError):
    """The answer did not come. The statement may or may not have taken effect."""

    maybe_written = True


class RefusedValueError(InternalError):
    """The server refuses a value of this statement, and would refuse it again. Nothing was written."""


class UnbornError(RefusedValueError):
    """A child could not be created, so that its statement has undone itself (`append_effects`)."""


def _state(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None) or ""
    if state in _RESTATED:
        said = str(error)
        return next((one.means for one in ERRORS.restated if one.state == state and one.words.match(said)), state)
    return state


def contended(error: BaseException) -> bool:
    """Whether another transaction interfered, so that a retry is right."""
    return _state(error) in _CONTENDED


def overtaken(error: BaseException) -> bool:
    """Whether a statement of the engine met a message of the same id that another transaction has kept meanwhile.

    A retry sees that message. A statement of the user's may fail for a key of the same name.
    """
    return _state(error) == _UNIQUE_VIOLATION and _KEY_OF_MESSAGES in words_of(error)


def busy(error: BaseException) -> bool:
    """Whether the driver refuses to send a second statement while the first is running."""
    return isinstance(error, InterfaceError) and "another operation" in str(error)


def waited_in_vain(error: BaseException) -> bool:
    """Whether a lock was not granted in time, so that an immediate retry is not enough."""
    return _state(error) == _LOCK_NOT_AVAILABLE


def falls_away(error: BaseException) -> bool:
    """Whether a statement of user code failed because the server is away or takes no writes now.

    This covers fewer errors than for the engine: a statement that takes too long or too much is itself at fault.
    """
    if isinstance(error, InternalClientError):  # the driver raises it for a connection that is ending
        return True
    state = _state(error)
    return state in _AWAY_FOR_USERS or (state[:2] == "08" and state not in ERRORS.misconfigured)


def read_only(error: BaseException) -> bool:
    """Whether the connection takes no writes, perhaps even when the database takes them again.

    It keeps the setting with which it was made, or its server has become a replica.
    """
    return _state(error) == _READ_ONLY


def forgotten(error: BaseException) -> bool:
    """Whether the server does not know a prepared statement, or another of its name. Nothing was carried out."""
    return _state(error) in _FORGOTTEN


def in_failed_transaction(error: BaseException) -> bool:
    """Whether an earlier statement failed and its error was swallowed."""
    return _state(error) == _IN_FAILED_TRANSACTION


def transaction_gone(error: BaseException) -> bool:
    """Whether the expected transaction or savepoint has been ended."""
    return _state(error) in _NO_TRANSACTION


def refuses_values(error: BaseException) -> bool:
    """Whether the server or the driver refuses a value that was sent."""
    refused = isinstance(error, PostgresError | InterfaceError) and _state(error)[:2] in _VALUE_CLASSES
    return refused and not overtaken(error)


def unborn(error: BaseException) -> bool:
    """Whether a statement has undone itself because a child could not be created. No statement divides otherwise."""
    return _state(error) == _DIVISION_BY_ZERO


def translated(error: BaseException, where: str) -> Exception | None:
    """The error for a caller of the store, about the server `where`. None if the driver's is not an expected one."""
    state = _state(error)
    reason = _CONFIGURATION.get(state) or _misconfigured(error) or ERRORS.misconfigured.get(state)
    if reason is not None:
        return StorageConfigurationError(f"{where}: {reason} [{state}]")
    if contended(error) or overtaken(error):
        held, lost = "another transaction has held a lock for too long", "this transaction lost against another one"
        return LockedError(f"{where}: {held if waited_in_vain(error) else lost}; try again [{state}]")
    if refuses_values(error):
        kind = UnbornError if unborn(error) else RefusedValueError
        return kind(f"{where}: the server refuses a value [{state}]")
    if state[:2] in _AWAY_CLASSES or state in _AWAY:
        unanswered = state[:2] == "08" or state in _UNANSWERED
        away: type[StorageUnavailableError] = ConnectionLostError if unanswered else StorageUnavailableError
        return away(f"{where}: {words_of(error)} [{state}]")
    if isinstance(error, TimeoutError):
        return ConnectionLostError(f"{where}: no answer in time; is the server reachable?")
    if isinstance(error, TargetServerAttributeNotMatched):
        return StorageUnavailableError(f"{where}: {_unsuitable(error)}")
    if isinstance(error, InterfaceError | InternalClientError | OSError | EOFError):
        return ConnectionLostError(f"{where}: {words_of(error)}; is the server running and reachable?")
    return None


def _misconfigured(error: BaseException) -> str | None:
    """What to mend, of an error that is known by its words alone."""
    said = str(error)
    return next((told for words, told in ERRORS.worded.items() if words in said), None)


def _unsuitable(error: BaseException) -> str:
    """Why a server that can be reached is not the wanted one. The driver's text names what was wanted."""
    if "read-write" in str(error):
        return "it takes no writes; it is a standby, or default_transaction_read_only is on"
    return "it is a standby"


def words_of(error: BaseException) -> str:
    """The error's text, without the lines that hold values."""
    return (str(error).splitlines() or [type(error).__name__])[0]

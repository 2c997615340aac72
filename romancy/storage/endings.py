"""Refuses statements that user code may not send in a session: those that end the transaction, and concurrent ones.

Only the first words of each statement are read, past comments and literals. A commit that is hidden deeper, such as in
a procedure, is found by the session's savepoint, not here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from romancy.errors import UsageError
from romancy.storage.sql_text import mysql_readings, postgres_reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["BESIDE", "OVER", "OneAtATime", "not_yours", "refuse_mysql_ending", "refuse_postgres_ending"]

OVER: Final = "session: it has ended; open another one"

BESIDE: Final = (
    "session: another of its statements is still running, and a transaction carries out one at a time; "
    "await each before the next, and each before the activity returns"
)
_POSTGRES_WORDS: Final = ("commit", "rollback", "begin", "start", "prepare", "end", "abort")
_MYSQL_WORDS: Final = ("commit", "rollback", "begin", "start", "prepare", "immediate", "lock", "xa")
"""A text without any of these words needs no closer look."""
_POSTGRES_ENDS: Final = re.compile(
    r"\s*(commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|begin|start\s+transaction"
    r"|prepare\s+transaction)\b",
    re.IGNORECASE,
)
_MYSQL_ENDS: Final = re.compile(
    r"\s*(commit|rollback(?!\s+(?:work\s+)?to\b)|begin|start\s+transaction|xa|(?:un)?lock\s+tables?"
    r"|set\b.*\bautocommit)\b",
    re.IGNORECASE | re.DOTALL,
)
_PREPARED: Final = re.compile(r"\b(?:prepare\s+\S+\s+from|execute\s+immediate)\s+'(\d+)'", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_MEANT: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "b": "\b", "Z": "\x1a"}


def refuse_postgres_ending(sql: str) -> None:
    """Raise UsageError if a statement in this text would end the transaction, or begin another."""
    if _has_any(_POSTGRES_WORDS, sql):
        _refuse(postgres_reading(sql).words, _POSTGRES_ENDS)


def refuse_mysql_ending(sql: str) -> None:
    """The same for MySQL and MariaDB. Also checks a text that the server is to prepare."""
    if _has_any(_MYSQL_WORDS, sql):
        for words, literals in mysql_readings(sql):
            _refuse(words, _MYSQL_ENDS)
            for prepared in _PREPARED.finditer(words):
                _refuse_prepared(_meant(literals[int(prepared[1])]))


def _has_any(words: Sequence[str], sql: str) -> bool:
    lowered = sql.lower()
    return any(word in lowered for word in words)


def _refuse_prepared(sql: str) -> None:
    for words, _ in mysql_readings(sql):
        _refuse(words, _MYSQL_ENDS)


def _meant(literal: str) -> str:
    """The text that a string of MySQL stands for."""
    mark = literal[0]

    def one(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _MEANT.get(found[1], found[1])
        return mark if found[0][0] == mark else found[0]

    return _ESCAPE.sub(one, literal[1:-1])


def _refuse(words: str, ends: re.Pattern[str]) -> None:
    for statement in words.split(";"):
        found = ends.match(statement)
        if found is not None:
            raise not_yours(found[1].split(None, 1)[0])


def not_yours(what: str) -> UsageError:
    """The error for a statement or call that would end the transaction."""
    return UsageError(
        f"{what!r} in a session: its transaction is ended by Romancy, together with the log row of the activity; "
        "leave it out. For a part that may fail alone use `async with session.savepoint()`"
    )


class OneAtATime:
    """Held while a statement of a session is running. Refuses a second statement, and the end."""

    __slots__ = ("busy",)

    def __init__(self) -> None:
        self.busy = False

    def check(self) -> None:
        """Raise UsageError while a statement is running."""
        if self.busy:
            raise UsageError(BESIDE)

    def __enter__(self) -> None:
        self.check()
        self.busy = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.busy = False

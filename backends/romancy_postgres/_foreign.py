"""Connections of other drivers than asyncpg in a transaction of the caller's: psycopg 3, psycopg 2.

They run the adapter's statements, and their errors become those of asyncpg, which the adapter understands. Only the
calls of a joined session are here.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import asyncpg

from romancy_postgres._columns import Flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from romancy.storage.joining import Joined, Run

__all__ = ["Foreign", "foreign"]

T = TypeVar("T")

_PARAMETER: Final = re.compile(r"\$(\d+)")
_IDLE: Final = 0
"""The state of a connection without a transaction, as libpq numbers it."""


class Row:
    """A row whose columns are found by number and by name."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: Sequence[Any]) -> None:
        self._names = names
        self._values = [_plain(value) for value in values]

    def __getitem__(self, key: int | str) -> Any:
        return self._values[self._names.index(key) if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def keys(self) -> tuple[str, ...]:
        """The names, so that `dict` makes a mapping of the row."""
        return self._names


class _Answer(NamedTuple):
    status: str
    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class Foreign(ABC):
    """A connection with the calls of asyncpg's that a joined session makes."""

    def __init__(self, connection: Any, run: Run) -> None:
        self.connection = connection
        self.run = run

    async def fetch(self, query: str, *values: object, timeout: float | None = None) -> list[Row]:  # noqa: ARG002 - the driver's signature
        """Run a query and return its rows."""
        answer = await self._understood(query, values)
        return [Row(answer.names, row) for row in answer.rows]

    async def execute(self, query: str, *values: object, timeout: float | None = None) -> str:  # noqa: ARG002 - as above
        """Run a statement and return its command tag."""
        return (await self._understood(query, values)).status

    @abstractmethod
    def is_closed(self) -> bool:
        """Whether the connection cannot be used any more."""

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open, or begins with the next statement."""
        return not self.connection.autocommit or self.connection.info.transaction_status != _IDLE

    def is_in_pipeline(self) -> bool:
        """Whether answers come later, in the order of the statements. Only psycopg has this mode."""
        return bool(getattr(getattr(self.connection, "pgconn", None), "pipeline_status", 0))

    async def _understood(self, query: str, values: tuple[object, ...]) -> _Answer:
        sent = [list(one.values) if isinstance(one, Flat) else one for one in values]
        try:
            return await self._ask(query, sent)
        except Exception as error:
            translated = _translated(error, closed=self.is_closed())
            if translated is None:
                raise
            raise translated from error

    @abstractmethod
    async def _ask(self, query: str, values: list[Any]) -> _Answer: ...


class _Psycopg(Foreign):
    def is_closed(self) -> bool:
        return bool(self.connection.closed)

    async def _ask(self, query: str, values: list[Any]) -> _Answer:
        return await self.run(partial(self._ask_here, query, values))

    def _ask_here(self, query: str, values: list[Any]) -> _Answer:
        psycopg: Any = sys.modules["psycopg"]  # the caller's connection proves that it is loaded
        with psycopg.RawCursor(self.connection, row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(query, values or None, prepare=False)
            names = tuple(column.name for column in cursor.description or ())
            return _Answer(cursor.statusmessage or "", names, cursor.fetchall() if names else ())


class _PsycopgAsync(_Psycopg):
    async def _ask(self, query: str, values: list[Any]) -> _Answer:
        psycopg: Any = sys.modules["psycopg"]
        async with psycopg.AsyncRawCursor(self.connection, row_factory=psycopg.rows.tuple_row) as cursor:
            await cursor.execute(query, values or None, prepare=False)
            names = tuple(column.name for column in cursor.description or ())
            return _Answer(cursor.statusmessage or "", names, await cursor.fetchall() if names else ())


class _Psycopg2(Foreign):
    def is_closed(self) -> bool:
        return bool(self.connection.closed)

    async def _ask(self, query: str, values: list[Any]) -> _Answer:
        return await self.run(partial(self._ask_here, query, values))

    def _ask_here(self, query: str, values: list[Any]) -> _Answer:
        plain: Any = sys.modules["psycopg2.extensions"]
        given = {f"p{number}": value for number, value in enumerate(values, 1)}
        text = _PARAMETER.sub(r"%(p\1)s", query.replace("%", "%%")) if values else query
        with self.connection.cursor(cursor_factory=plain.cursor) as cursor:
            cursor.execute(text, given or None)
            names = tuple(column[0] for column in cursor.description or ())
            return _Answer(cursor.statusmessage or "", names, cursor.fetchall() if names else ())


def foreign(joined: Joined) -> Foreign | None:
    """The wrapped connection, if it is of a known driver."""
    for base in type(joined.connection).__mro__:
        kind = _KINDS.get((base.__module__.partition(".")[0], base.__name__))
        if kind is not None:
            return kind(joined.connection, joined.run)
    return None


_KINDS: Final[dict[tuple[str, str], Callable[[Any, Run], Foreign]]] = {
    ("psycopg", "Connection"): _Psycopg,
    ("psycopg", "AsyncConnection"): _PsycopgAsync,
    ("psycopg2", "connection"): _Psycopg2,
}


def _plain(value: Any) -> Any:
    """A value with bytes as `bytes`, where psycopg 2 gives memoryviews."""
    return value.tobytes() if type(value) is memoryview else value


def _translated(error: Exception, *, closed: bool) -> Exception | None:
    """The error that asyncpg would have raised for the server's answer, or for a lost connection."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is not None:
        return asyncpg.PostgresError.new({"S": "ERROR", "C": state, "M": _words(error)})
    if closed or type(error).__name__ in ("OperationalError", "InterfaceError"):
        return asyncpg.InterfaceError(_words(error))
    return None


def _words(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""Connections to the file, and waits for other processes. Knows no table.

No connection waits inside SQLite (`busy_timeout` is 0). Waiting is done here, where it is bounded, jittered and never
on the thread of an event loop.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import StorageConfigurationError
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import is_busy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "MINIMUM_VERSION",
    "Parameters",
    "Tx",
    "UndoError",
    "check_version",
    "connect",
    "connect_as",
    "now",
    "patiently",
]

MINIMUM_VERSION = (3, 34, 0)
_SHORTEST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.025

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=sqlite3.Connection)
Parameters = Sequence[object] | Mapping[str, object]
_NEVER = threading.Event()
_lead = 0


def now() -> int:
    """The database's time in microseconds, which for a file is the machine's. It never goes back.

    If the machine's clock is put back, this clock continues from its last value at normal speed. It does not stop.
    Ticks are those of the performance counter: on Windows, `time.monotonic` has steps of 15.6 ms before Python 3.13.
    """
    global _lead  # noqa: PLW0603 - one clock per process
    wall, ticks = time.time_ns(), time.perf_counter_ns()
    if wall - ticks > _lead:  # noqa: PLR1730 - a call of `max` costs as much as both clocks
        _lead = wall - ticks
    return (ticks + _lead) // 1000


def check_version() -> None:
    """Refuse an SQLite that lacks what the queries use."""
    if sqlite3.sqlite_version_info < MINIMUM_VERSION:
        wanted = ".".join(map(str, MINIMUM_VERSION))
        raise StorageConfigurationError(
            f"SQLite {sqlite3.sqlite_version}: Romancy needs {wanted} or newer; use a newer Python or system "
            "library, or install pysqlite3-binary, which brings its own"
        )


def connect(path: Path) -> sqlite3.Connection:
    """A connection that is durable at every commit, leaves checkpoints to the writer and never waits by itself."""
    return connect_as(sqlite3.Connection, path)


def connect_as(kind: type[Kind], path: Path) -> Kind:
    """As `connect`, with another connection class."""
    connection = sqlite3.connect(str(path), timeout=0, isolation_level=None, check_same_thread=False, factory=kind)
    cursor = sqlite3.Cursor(connection)
    try:
        for pragma in (
            "synchronous = full",
            "fullfsync = on",
            "wal_autocheckpoint = 0",
            "journal_size_limit = 67108864",
        ):
            patiently(partial(cursor.execute, f"pragma {pragma}"), seconds=10)
    except BaseException:
        sqlite3.Connection.close(connection)
        raise
    return connection


def patiently(action: Callable[[], Result], *, seconds: float, stop: threading.Event = _NEVER) -> Result:
    """Retry until the file is not locked, the time is up or `stop` is set. For threads that may block."""
    deadline = time.monotonic() + seconds
    pause = _SHORTEST_PAUSE
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline or stop.is_set():
                raise
        stop.wait(pause * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
        pause = min(pause * 1.5, _LONGEST_PAUSE)


class UndoError(Exception):
    """A part of the transaction must be undone, which only a careful transaction can do."""


class Tx:
    """One transaction as its statements see it: named queries, one time, and the instances to announce afterwards."""

    __slots__ = ("_driven", "_sql", "careful", "now", "touched")

    def __init__(
        self,
        connection: sqlite3.Connection | sqlite3.Cursor,
        sql: dict[str, str],
        *,
        careful: bool = True,
        at: int | None = None,
    ) -> None:
        """`at` is the database's time, where that is not the machine's."""
        self._driven: Any = connection
        """The connection. Its stub would ask for a cast, and so for a call, in each statement."""
        self._sql = sql
        self.careful = careful
        """Whether parts can be undone. SQLite then copies every page that a savepoint may have to restore."""
        self.now = now() if at is None else at
        self.touched: set[str] = set()
        """Instances to announce to others once this is committed."""

    def run(self, name: str, parameters: Parameters = ()) -> int:
        """Execute the named statement and return how many rows it touched."""
        return self._driven.execute(self._sql[name], parameters).rowcount  # type: ignore[no-any-return]

    def run_text(self, sql: str, parameters: Sequence[object]) -> int:
        """Execute a composed statement and return how many rows it touched."""
        return self._driven.execute(sql, parameters).rowcount  # type: ignore[no-any-return]

    def many(self, name: str, rows: Sequence[Parameters]) -> int:
        """Execute the named statement once for each row and return how many rows were touched in all."""
        return self._driven.executemany(self._sql[name], rows).rowcount  # type: ignore[no-any-return]

    def row(self, name: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """The first row of the named query, or None."""
        found = self.rows(name, parameters)
        return found[0] if found else None

    def rows(self, name: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows of the named query."""
        return self._driven.execute(self._sql[name], parameters).fetchall()  # type: ignore[no-any-return]

    def text(self, name: str) -> str:
        """The SQL of the named query, for a composed statement."""
        return self._sql[name]

    def compose(self, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows of a composed query."""
        return self._driven.execute(sql, parameters).fetchall()  # type: ignore[no-any-return]

"""The database of `memory://`: one connection to SQLite in memory, used on its callers' threads, behind a lock.

A write begins and commits without an `await` in between, so nobody ever sees a part of it. A session holds the one
transaction that there is: other writers wait for its end, and readers get a copy that was made when it began.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast
from weakref import finalize

from romancy.storage.sql import DEFAULT_PREFIX
from romancy_sqlite._connection import Tx, UndoError
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import translate
from romancy_sqlite._floor import Floor
from romancy_sqlite._guard import OVER, GuardedConnection, references
from romancy_sqlite._migrations import make_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from romancy_sqlite._watch import Watch

__all__ = ["MemoryDatabase"]

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=sqlite3.Connection)
_STATEMENTS = 512
"""Compiled statements that a connection keeps: all of Romancy's, and some of the user's."""
_AT_ONCE: Final = 16
"""Calls after which others run. A caller that never waits would keep the event loop for itself."""
_numbers = count(1)
_template_lock: Final = threading.Lock()


class MemoryDatabase:
    """Exists as long as a store, an app or a test keeps it."""

    path = Path(":memory:")
    lock_timeout = 0.0
    quick = True

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        """`clock` tells the time in microseconds; without it, the machine's clock does."""
        self._clock = _machine_time if clock is None else clock
        self._now = self._clock()
        self._lock = threading.RLock()
        self.floor = Floor(self._lock)
        self.watches: dict[Watch, None] = {}
        """In the order in which their stores were opened, in which they are told."""
        self.identity = f"memory:{next(_numbers)}"
        self._lent = False
        """Whether a session has a transaction open on the connection."""
        self._was_lent = False
        """Whether a session has ended, and nobody has looked since whether its user still holds the connection."""
        self._copy: sqlite3.Connection | None = None
        self._left = _AT_ONCE
        self._opened: list[sqlite3.Connection] = []
        # A `__del__` may come too late: the collector ends what it finds together in any order, and Python 3.13 warns
        # of a connection that nobody has closed.
        finalize(self, _close, self._opened)
        with _template_lock:
            self._continue_from(_template())

    @property
    def writer(self) -> MemoryDatabase:
        """Itself: no thread writes on behalf of callers."""
        return self

    def now(self) -> int:
        self._now = max(self._now, self._clock())
        return self._now

    def tell(self, instance_ids: set[str] | None) -> None:
        for watch in tuple(self.watches):
            watch.tell(instance_ids)

    def check_file(self) -> None:
        """There is no file that another one could replace."""

    def wrote(self, weight: int) -> None:
        """There is no log that would have to be copied back."""

    # --- reads and writes ---------------------------------------------------------------------------------------

    async def read(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> Result:
        """Run queries on what is committed, at once. Now and then others run before."""
        self._left -= 1
        if self._left <= 0:
            self._left = _AT_ONCE
            await asyncio.sleep(0)
        with self._lock:
            try:
                return work(Tx(self._reader(), sql, at=self.now()))
            except Exception as error:
                raise translate(error, self.path) from error

    async def write(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> Result:
        """Do work in a transaction of its own, at once or after the sessions and writers that came before.

        Now and then others run after it. If they ran before, the writes of those who come later would overtake it.
        """
        if (done := self._write_at_once(sql, work)) is None:
            await self.floor.take()
            try:
                done = (self._write(sql, work),)
            finally:
                self.floor.leave()
        self._left -= 1
        if self._left <= 0:
            self._left = _AT_ONCE
            await asyncio.sleep(0)
        return done[0]

    def write_one(self, sql: str, row: Sequence[object], size: int) -> bool:  # noqa: ARG002 - a row of any size is quick
        self._left -= 1
        if self._left <= 0:
            return False  # `write` will get it, and let others run
        with self._lock:
            if self.floor.taken:
                return False
            try:
                return self._own().execute(sql, cast("Any", row)).rowcount == 1
            except Exception:  # noqa: BLE001 - `write` will get it again and translate it
                return False

    def run_inline(
        self,
        work: Callable[[Tx], Result],
        sql: dict[str, str],
        weight: int,  # noqa: ARG002 - work of any size may run here
    ) -> tuple[Result] | None:
        self._left -= 1
        if self._left <= 0:
            return None  # `write` will get it, and let others run
        with self._lock:
            if self.floor.taken:
                return None
            try:
                result, touched = self._attempt(sql, work, careful=True)
            except Exception:  # noqa: BLE001 - `write` will get it again and translate it
                return None
        if touched:
            self.tell(touched)
        return (result,)

    def _write_at_once(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> tuple[Result] | None:
        with self._lock:
            return None if self.floor.taken else (self._write(sql, work),)

    def _write(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> Result:
        """The first attempt is optimistic: it can only be undone as a whole."""
        try:
            with self._lock:
                try:
                    result, touched = self._attempt(sql, work, careful=False)
                except UndoError:
                    result, touched = self._attempt(sql, work, careful=True)
        except Exception as error:
            raise translate(error, self.path) from error
        if touched:
            self.tell(touched)
        return result

    def _attempt(self, sql: dict[str, str], work: Callable[[Tx], Result], *, careful: bool) -> tuple[Result, set[str]]:
        cursor = self._own()
        try:
            cursor.execute("begin")
            tx = Tx(cursor, sql, careful=careful, at=self.now())
            result = work(tx)
            cursor.execute("commit")
        except BaseException:
            self._connection.roll_back()
            raise
        return result, tx.touched

    # --- the connection -----------------------------------------------------------------------------------------

    def lend(self) -> GuardedConnection:
        """The connection, for a session that holds the floor. Until `give_back`, others read a copy made now."""
        with self._lock:
            self._own()
            if self._copy is None:
                self._copy = _connect(sqlite3.Connection)
                self._opened.append(self._copy)
            sqlite3.Connection.backup(self._connection, self._copy)
            self._connection.renew()
            self._lent = True
            return self._connection

    def lends(self, connection: sqlite3.Connection) -> bool:
        """Whether a session has this connection."""
        return self._lent and connection is self._connection

    def give_back(self) -> None:
        """The session has ended its transaction. The next one in the queue holds the floor."""
        with self._lock:
            self._lent = False
            self._was_lent = True
        self.floor.leave()

    def _reader(self) -> sqlite3.Cursor:
        return sqlite3.Cursor(cast("sqlite3.Connection", self._copy)) if self._lent else self._own()

    def _own(self) -> sqlite3.Cursor:
        """Romancy's cursor. What a session may have left on the connection is removed first."""
        if self._was_lent:
            self._was_lent = False
            if self._connection.tainted or self._references() != self._connection.alone:
                former = self._connection
                # A rollback that failed (for a limit that the user has set) leaves a transaction, and no backup of it.
                begun = sqlite3.Connection.in_transaction.__get__(former)
                self._continue_from(cast("sqlite3.Connection", self._copy) if begun else former)
                self._opened.remove(former)
                former.really_close()
            else:
                self._connection.renew()
                self._connection.over = OVER
        return self._cursor

    def _continue_from(self, former: sqlite3.Connection) -> None:
        """Go on with a new connection and a copy of everything: no user can reach it."""
        connection = _connect(GuardedConnection)
        sqlite3.Connection.backup(former, connection)
        connection.over = OVER
        self._connection = connection
        self._opened.append(connection)
        self._cursor = sqlite3.Cursor(connection)
        del connection
        self._connection.alone = self._references()

    def _references(self) -> int:
        return references([self._connection])


def _close(opened: list[sqlite3.Connection]) -> None:
    for connection in opened:
        if isinstance(connection, GuardedConnection):
            connection.really_close()
        else:
            connection.close()


def _machine_time() -> int:
    return time.time_ns() // 1000


def _connect(kind: type[Kind]) -> Kind:
    return sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, factory=kind, cached_statements=_STATEMENTS
    )


@cache
def _template() -> sqlite3.Connection:
    """A database with tables and without rows. To copy it takes a fraction of what its migrations take."""
    connection = _connect(sqlite3.Connection)
    atexit.register(connection.close)
    make_tables(connection, DEFAULT_PREFIX)
    return connection

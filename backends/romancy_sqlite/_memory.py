"""`memory://`: the store on a file, over a database in memory instead.

`memory://` is private to its store. `memory://name` is shared by all stores of this process with that name, while at
least one of them exists.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakValueDictionary

from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.records import Capabilities
from romancy.storage.upkeep import Plan, Setting
from romancy_sqlite._connection import check_version
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._guard import GuardedConnection, Reason
from romancy_sqlite._joined import JoinedSession
from romancy_sqlite._lone_writer import LoneWriter
from romancy_sqlite._memory_database import MemoryDatabase
from romancy_sqlite._memory_turn import MemoryTurn
from romancy_sqlite._paced import PacedInterpreter
from romancy_sqlite._scripts import heads
from romancy_sqlite._settings import Settings
from romancy_sqlite._store import SqliteStore
from romancy_sqlite._transactions import SqliteSessions
from romancy_sqlite._upkeep import SqliteUpkeep
from romancy_sqlite._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.joining import Joined
    from romancy.storage.url import StorageURL
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._interpreter import SqliteInterpreter
    from romancy_sqlite._shared import Shared
    from romancy_sqlite._turns import SessionTurn

__all__ = ["MemoryStore", "memory_store"]

Result = TypeVar("Result")
_shared: Final[WeakValueDictionary[str, MemoryDatabase]] = WeakValueDictionary()
_shared_lock: Final = threading.Lock()


class MemoryStore(SqliteStore):
    """A store over a `MemoryDatabase`. Several stores may share one, as several processes share a file."""

    def __init__(
        self, database: MemoryDatabase | None = None, *, pace: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """`pace` is awaited before each request of an operation, as on a server. Without it, operations are atomic."""
        self.database = MemoryDatabase() if database is None else database
        self._pace, self._at_once = pace, pace is None
        super().__init__(Settings(path=MemoryDatabase.path))
        self._lone = _NobodyElse()
        self._watch: Watch | None = None

    def _make_interpreter(self) -> SqliteInterpreter:
        return super()._make_interpreter() if self._pace is None else PacedInterpreter(self, heads(), self._pace)

    def _make_sessions(self) -> SqliteSessions:
        return _MemorySessions(self, self._sql, self._settings.session_limit)

    def _make_upkeep(self, interpreter: SqliteInterpreter) -> SqliteUpkeep:
        return _MemoryUpkeep(interpreter, self._settings)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=f"SQLite {sqlite3.sqlite_version} in memory",
            push=True,
            transactional_ddl=True,
            sql=True,
            placeholder="?",
            schema=False,
            processes=False,
            embedded=True,
            gives_places=True,
            sessions_exclude=True,
            place=self.database.identity,
        )

    async def open(self, *, migrate: bool = True) -> None:  # noqa: ARG002 - its tables are always those of this version
        if self._watch is None:
            check_version()
            self._watch = _PushedWatch()
            self.database.watches[self._watch] = None

    async def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        self.database.watches.pop(watch, None)
        watch.end()
        self._sessions.finish(Reason(UsageError, "memory store: the store was closed during the call"))

    def _use(self) -> tuple[Shared, Watch]:
        if self._watch is None:
            raise StorageUnavailableError("memory store: not open; call `open()` first, and nothing after `close()`")
        return self.database, self._watch

    async def _queue(self, work: Callable[[Tx], Result], weight: int) -> Result:  # noqa: ARG002 - nothing is counted here
        self._use()

        def unless_closed(tx: Tx) -> Result:
            self._use()
            return work(tx)

        return await self.database.write(self._sql, unless_closed)


class _MemorySessions(SqliteSessions):
    _store: MemoryStore

    def _turn(self) -> SessionTurn:
        _ = self._store.shared  # refuses if the store is not open
        return MemoryTurn(self._store.database, self._limit, self._beat)

    def _joined(self, joined: Joined) -> JoinedSession:
        return _JoinedInMemory(self._store.database, self._sql, joined, self._store.watch.look_now)


class _MemoryUpkeep(SqliteUpkeep):
    """Its tables are always those of this version, and it has no file with settings."""

    async def plan(self) -> Plan:
        return Plan(steps=(), sql="")

    async def settings(self) -> list[Setting]:
        return []


class _NobodyElse(LoneWriter):
    """A commit takes microseconds: others need not be counted, and the database lets them run."""

    def expects_nobody(self, caller: object) -> bool:  # noqa: ARG002 - whoever it is
        return True


class _PushedWatch(Watch):
    """Every change is told, so nothing is looked for."""

    def __init__(self) -> None:
        super().__init__(lambda: None)

    def tell(self, instance_ids: set[str] | None) -> None:
        try:
            here: Any = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            self._hear(instance_ids)
        else:
            super().tell(instance_ids)

    def _begin_to_look(self) -> None:
        pass


class _JoinedInMemory(JoinedSession):
    """Only a session's own connection reaches a database in memory, and it has the write lock."""

    def __init__(self, database: MemoryDatabase, sql: dict[str, str], joined: Joined, news: Callable[[], None]) -> None:
        super().__init__(database, sql, joined, news)
        self._database = database

    async def _take_lock(self, statement: str) -> None:
        pass

    def _check_file(self, cursor: sqlite3.Cursor) -> None:  # noqa: ARG002 - no statement is needed
        if isinstance(self._connection, GuardedConnection):
            self._connection.check()
        if not self._database.lends(self._connection):
            raise UsageError(
                "session= was given a connection to another database than this memory store; "
                "one transaction cannot span both"
            )


def memory_store(
    url: StorageURL,
    clock: Callable[[], int] | None = None,
    pace: Callable[[], Awaitable[None]] | None = None,
) -> MemoryStore:
    """The store for a `memory://` URL. `clock` tells a new database the time in microseconds."""
    url.take_options({})
    name = f"{url.host or ''}{url.path}"
    if not name:
        return MemoryStore(MemoryDatabase(clock), pace=pace)
    with _shared_lock:
        database = _shared.get(name)
        if database is None:
            database = _shared[name] = MemoryDatabase(clock)
    return MemoryStore(database, pace=pace)

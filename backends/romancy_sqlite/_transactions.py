"""The room of transactions: those of user code, which take turns with the writer, and those of callers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from romancy.storage.joining import Joined
from romancy_sqlite._joined import JoinedSession
from romancy_sqlite._session_thread import Turn
from romancy_sqlite._sessions import SqliteSession, open_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.records import Worker
    from romancy_sqlite._guard import Reason
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteSessions"]


class SqliteSessions:
    """As `Sessions` promises."""

    def __init__(self, store: SqliteStore, sql: dict[str, str], limit: float) -> None:
        self._store = store
        self._sql = sql
        self._limit = limit
        self._turns: set[Turn] = set()
        self.worker: Worker | None = None
        """The worker that sends heartbeats here. A session that was long for its lease renews it when it ends."""

    def finish(self, reason: Reason) -> None:
        """End all sessions: the store is being closed."""
        for turn in tuple(self._turns):
            turn.finish(reason)

    @asynccontextmanager
    async def begin(
        self,
        *,
        isolation: IsolationLevel | None = None,  # noqa: ARG002 - SQLite has the strongest level alone
    ) -> AsyncGenerator[SqliteSession]:
        shared = self._store.file
        beat = None if self.worker is None else (self._sql["renew"], self.worker)
        turn = Turn(shared, self._limit, beat)
        self._turns.add(turn)
        try:
            async with open_session(shared, self._sql, turn) as session:
                yield session
        finally:
            self._turns.discard(turn)

    @asynccontextmanager
    async def join(self, transaction: object, /) -> AsyncGenerator[JoinedSession]:
        joined = JoinedSession(self._store.file, self._sql, Joined.of(transaction), self._store.watch.look_now)
        await joined.check()
        yield joined

"""The service for transactions: those of user code, which take turns with the writer, and those of callers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
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
    from romancy_sqlite._reached import Reached
    from romancy_sqlite._turns import SessionTurn

__all__ = ["SqliteSessions"]


class SqliteSessions:
    """As `Sessions` promises."""

    def __init__(self, store: Reached, sql: dict[str, str], limit: float) -> None:
        self._store = store
        self._sql = sql
        self._limit = limit
        self._turns: set[SessionTurn] = set()
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
        turn = self._turn()
        self._turns.add(turn)
        try:
            async with open_session(self._store.shared, self._sql, turn) as session:
                yield session
        finally:
            self._turns.discard(turn)

    @asynccontextmanager
    async def join(self, transaction: object, /) -> AsyncGenerator[JoinedSession]:
        joined = self._joined(Joined.of(transaction))
        await joined.check()
        yield joined

    def _turn(self) -> SessionTurn:
        return Turn(self._store.file, self._limit, self._beat)

    @property
    def _beat(self) -> tuple[str, Worker] | None:
        return None if self.worker is None else (self._sql["renew"], self.worker)

    def _joined(self, joined: Joined) -> JoinedSession:
        return JoinedSession(self._store.shared, self._sql, joined, partial(self._store.shared.tell, None))

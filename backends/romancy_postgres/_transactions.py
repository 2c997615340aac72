"""The service for transactions: those of user code, and those of callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_postgres._joined import join_session
from romancy_postgres._sessions import open_session

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from romancy.storage.isolation import IsolationLevel
    from romancy_postgres._commit import Commits
    from romancy_postgres._database import Database
    from romancy_postgres._joined import JoinedSession
    from romancy_postgres._sessions import PostgresSession
    from romancy_postgres._signals import Signals
    from romancy_postgres._uncommitted import Uncommitted

__all__ = ["PostgresSessions"]


class PostgresSessions:
    """As `Sessions` promises."""

    def __init__(self, database: Database, signals: Signals, commits: Commits, uncommitted: Uncommitted) -> None:
        self._database = database
        self._signals = signals
        self._commits = commits
        self._uncommitted = uncommitted

    def begin(self, *, isolation: IsolationLevel | None = None) -> AbstractAsyncContextManager[PostgresSession]:
        return open_session(self._database, self._signals, self._commits, isolation or "read committed")

    def join(self, transaction: object, /) -> AbstractAsyncContextManager[JoinedSession]:
        return join_session(self._database, self._signals, self._commits, self._uncommitted, transaction)

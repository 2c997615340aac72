"""The service for transactions: those of user code, and those of callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_mysql._joined import join_session
from romancy_mysql._sessions import open_session

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from romancy.storage.isolation import IsolationLevel
    from romancy_mysql._commit import Committer
    from romancy_mysql._database import Database
    from romancy_mysql._joined import JoinedSession
    from romancy_mysql._posted import Posted
    from romancy_mysql._sessions import MySQLSession

__all__ = ["MySQLSessions"]


class MySQLSessions:
    """As `Sessions` promises."""

    def __init__(self, database: Database, committer: Committer, posted: Posted) -> None:
        self._database = database
        self._committer = committer
        self._posted = posted

    def begin(self, *, isolation: IsolationLevel | None = None) -> AbstractAsyncContextManager[MySQLSession]:
        return open_session(self._database, self._committer, isolation)

    def join(self, transaction: object, /) -> AbstractAsyncContextManager[JoinedSession]:
        return join_session(self._database, self._committer, self._posted, transaction)

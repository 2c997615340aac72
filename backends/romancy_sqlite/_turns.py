"""What a session has of its turn at a database, and how the turn ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar, cast

from romancy_sqlite._guard import OVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.records import Worker
    from romancy_sqlite._driver import Database, sqlite3
    from romancy_sqlite._guard import GuardedConnection, Reason
    from romancy_sqlite._shared import Shared

__all__ = ["SessionTurn"]

Result = TypeVar("Result")


class SessionTurn(ABC):
    """A session's turn: from `begin` to `finish` nothing else in this process writes to the database."""

    def __init__(self, shared: Shared, beat: tuple[str, Worker] | None) -> None:
        """`beat` renews the heartbeat of a worker, which could not be written during the turn."""
        self.excluding = False
        """Whether the turn excludes other writers and is not about to end."""
        self.renewed: bool | None = None
        """Whether the end of the turn renewed the worker's lease. None before it has ended."""
        self._clock = shared.now
        self._beat = beat
        self._over: Reason | None = None
        self._database: Database | None = None

    @property
    def connection(self) -> GuardedConnection:
        """The connection that holds the transaction. Valid after `begin`."""
        return cast("GuardedConnection", self.database.conn)

    @property
    def database(self) -> Database:
        """The user's native object. Valid after `begin`."""
        if self._database is None:
            raise (self._over or OVER).error()
        return self._database

    @property
    def is_over(self) -> bool:
        """Whether requests are refused."""
        return self._over is not None

    @abstractmethod
    async def begin(self) -> None:
        """Wait for the turn and begin the transaction."""

    @abstractmethod
    async def ask(self, action: Callable[[], Result], *, commits: bool = False) -> Result:
        """Run something on the thread that holds the transaction. If it `commits`, the end of the block leaves it."""

    @abstractmethod
    def finish(self, reason: Reason | None = None) -> None:
        """Accept no more requests: uncommitted writes are rolled back, and others may write."""

    @abstractmethod
    def leave(self) -> None:
        """Runs on the loop: the session's block was left. A statement that still runs is interrupted, not a commit."""

    def _parting(self, seconds: float) -> Callable[[sqlite3.Cursor], bool] | None:
        """The worker's heartbeat, if the turn was long for its lease: other workers must not declare it dead now."""
        if self._beat is None or seconds < self._beat[1].lease / 4_000_000:
            return None
        (sql, worker), now = self._beat, self._clock
        return lambda cursor: cursor.execute(sql, (now(), worker.token)).rowcount == 1

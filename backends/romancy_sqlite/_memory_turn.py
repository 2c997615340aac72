"""A session's turn at a database in memory: everything runs at once, on the thread of the caller's event loop.

A statement of the session that does not end stops that loop, and nothing can interrupt it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from romancy.errors import UsageError
from romancy_sqlite._driver import Database, sqlite3
from romancy_sqlite._guard import BEGIN, BEGIN_GUARD, BEGIN_WHOLE, OVER, Reason
from romancy_sqlite._turns import SessionTurn

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.records import Worker
    from romancy_sqlite._memory_database import MemoryDatabase

__all__ = ["MemoryTurn"]

Result = TypeVar("Result")
_STOOD_STILL = 1.0
"""Seconds by which a timer is late only if the event loop stood still, as it does in a debugger."""
_TOO_LONG = (
    "session: it has held the memory store for {limit:g} s, kept all other writers waiting, and was rolled back; "
    "await slow work before the session"
)


class MemoryTurn(SessionTurn):
    """Holds the floor from `begin` to `finish`."""

    def __init__(self, database: MemoryDatabase, limit: float, beat: tuple[str, Worker] | None) -> None:
        super().__init__(database, beat)
        self._shared = database
        self._limit = limit
        self._started = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        await self._shared.floor.take()
        if self._over is not None:  # the store was closed in the meantime
            self._shared.floor.leave()
            raise self._over.error()
        try:
            connection = self._shared.lend()
        except BaseException:
            self._shared.give_back()
            raise
        try:
            database = Database(connection)
            execute = sqlite3.Cursor(connection).execute
            for statement in (BEGIN, BEGIN_WHOLE, BEGIN_GUARD):
                execute(statement)
            connection.hand_over()
        except BaseException:
            connection.end(OVER)
            self._shared.give_back()
            raise
        self._database = database
        self.excluding = True
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._set_alarm()

    async def ask(self, action: Callable[[], Result], *, commits: bool = False) -> Result:  # noqa: ARG002 - a commit does not wait
        if self._over is not None:
            raise self._over.error()
        await asyncio.sleep(0)  # so that statements side by side are noticed, as on a file
        if self._over is not None:
            raise self._over.error()
        return action()

    def finish(self, reason: Reason | None = None) -> None:
        over = self._over = self._over or reason or OVER
        if self._database is None:
            return
        connection = self.connection
        self._database = None
        self.excluding = False
        if self._alarm is not None:
            self._alarm.cancel()
        connection.over = over  # no thread of the user's begins another statement
        connection.interrupt()
        try:
            renewed = connection.end(over, self._parting(self._loop.time() - self._started))
            self.renewed = self.renewed or renewed
        except sqlite3.Error:
            pass  # the database goes on without this connection
        finally:
            self.renewed = self.renewed or False
            self._shared.give_back()

    def leave(self) -> None:
        self.finish(OVER)

    def _set_alarm(self) -> None:
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(self._limit, self._ring, loop.time() + self._limit)

    def _ring(self, due: float) -> None:
        if asyncio.get_running_loop().time() > due + _STOOD_STILL:
            self._set_alarm()
        else:
            self.finish(Reason(UsageError, _TOO_LONG.format(limit=self._limit)))

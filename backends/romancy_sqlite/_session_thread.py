"""A session's turn at the file: the writer's thread begins the transaction, serves it, and ends it in time.

During the turn nothing else in this process writes to the file, and no other process can.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import StorageUnavailableError, UsageError
from romancy_sqlite._connection import connect_as, patiently
from romancy_sqlite._driver import Database, sqlite3
from romancy_sqlite._errors import translate
from romancy_sqlite._guard import BEGIN, BEGIN_GUARD, BEGIN_WHOLE, OVER, GuardedConnection, Reason, references
from romancy_sqlite._turns import SessionTurn

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.records import Worker
    from romancy_sqlite._file import SharedFile

__all__ = ["Turn"]

Result = TypeVar("Result")
_LONG = 0.1
_FROZEN = 1.0
"""A delay in seconds that only a stopped process explains."""
_TOO_LONG = (
    "session: it has held the file for {limit:g} s, blocked all other writers, and was rolled back; "
    "await slow work before the session, or raise session_limit in the storage URL"
)
_STOPPED = (
    "session: its process was stopped for {late:.0f} s while it held the file and blocked all other writers, and "
    "it was rolled back; it can be opened again"
)

_log = logging.getLogger("romancy.sqlite")


class Turn(SessionTurn):
    """Receives requests on the event loop and answers them on the writer's thread."""

    def __init__(self, shared: SharedFile, limit: float, beat: tuple[str, Worker] | None = None) -> None:
        super().__init__(shared, beat)
        self._shared = shared
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._opening = _Request(self._open, self._loop)
        self._lock = threading.Lock()
        self._commits = False
        self._alarm: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        self._shared.writer.take_turn(self._run)
        try:
            await self._opening.future
        except BaseException:
            self.finish()
            raise
        self._alarm = self._loop.call_later(self._limit, self._interrupt)

    async def ask(self, action: Callable[[], Result], *, commits: bool = False) -> Result:
        request = _Request(action, self._loop)
        with self._lock:
            if self._over is not None:
                raise self._over.error()
            self._commits = self._commits or commits
            self._requests.put(request)
        result: Result = await request.future
        return result

    def finish(self, reason: Reason | None = None) -> None:
        with self._lock:
            self._over = self._over or reason
        self._requests.put(None)

    def leave(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        with self._lock:
            if self._database is not None and not self._commits:
                self.connection.over = self._over or OVER  # no thread begins another statement
                self.connection.interrupt()
        self.finish(OVER)

    def _interrupt(self) -> None:
        with self._lock:
            if self._over is None:
                self.connection.interrupt()

    # --- on the writer's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        self._opening.run()
        if self._database is None:
            return
        started = time.monotonic()
        try:
            self._serve(started + self._limit)
        finally:
            seconds = time.monotonic() - started
            self._end(seconds)
            self._report(seconds)

    def _connect(self) -> GuardedConnection:
        connection = connect_as(GuardedConnection, self._shared.path)
        try:
            self._shared.check_file()
        except BaseException:
            connection.really_close()
            raise
        connection.alone = references([connection])
        return connection

    def _open(self) -> None:
        try:
            connection = self._shared.take_spare() or self._connect()
            try:
                database = Database(connection)
                execute = sqlite3.Cursor(connection).execute
                patiently(partial(execute, BEGIN), seconds=self._shared.lock_timeout, stop=self._shared.stop)
                execute(BEGIN_WHOLE)
                execute(BEGIN_GUARD)
                connection.hand_over()
            except BaseException:
                connection.really_close()
                raise
        except Exception as error:
            raise translate(error, self._shared.path) from error
        self._database = database
        self.excluding = True

    def _serve(self, deadline: float) -> None:
        while True:
            try:
                request = self._requests.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                late = time.monotonic() - deadline
                self._interrupt()
                self.finish(self._too_long() if late < _FROZEN else _stopped(late))
                return
            if request is None:
                return
            request.run()

    def _end(self, seconds: float) -> None:
        self.excluding = False
        with self._lock:
            self._over = self._over or OVER
            connection, self._database = self.connection, None
        try:
            renewed = connection.end(self._over, self._parting(seconds))
            self.renewed = self.renewed or renewed
            # No other reference exists: no user, no cursor, no traceback. So no old session can reach into a new one.
            if references([connection]) == connection.alone and not connection.tainted:
                connection.renew()
                self._shared.spare = connection
        finally:
            self.renewed = self.renewed or False
            if self._shared.spare is not connection:
                connection.really_close()
        self._refuse_rest(self._over)

    def _too_long(self) -> Reason:
        return Reason(UsageError, _TOO_LONG.format(limit=self._limit))

    def _refuse_rest(self, reason: Reason) -> None:
        while not self._requests.empty():
            request = self._requests.get()
            if request is not None:
                request.answer(None, reason.error())

    def _report(self, seconds: float) -> None:
        if seconds > _LONG:
            _log.warning(
                "%s: a session held the file for %.0f ms and blocked all other writers; "
                "open sessions last, after slow work",
                self._shared.path,
                seconds * 1000,
            )


def _stopped(late: float) -> Reason:
    """The error after the process was stopped: the session can be repeated."""
    return Reason(StorageUnavailableError, _STOPPED.format(late=late))


class _Request:
    """A request to a turn, and the caller that waits for the answer."""

    def __init__(self, action: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._action = action
        self._loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def run(self) -> None:
        """Run the request and answer, unless the caller has stopped waiting."""
        if self.future.cancelled():
            return
        try:
            result = self._action()
        except BaseException as error:  # noqa: BLE001 - every error goes to its caller, not to this thread
            self.answer(None, error)
        else:
            self.answer(result, None)

    def answer(self, result: Any, error: BaseException | None) -> None:
        """Answer the caller, on its own loop."""
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            return  # the loop is closed: no caller waits there any more

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

"""The tap of SQLite: SQLite itself reports each statement, on the thread that runs it.

A lone commit runs on the event loop's own thread, which then waits for the test. So a store that is listened to has
connections of its own to the file, as another process would have, and its calls run on an event loop in another thread.
"""

# pyright: reportPrivateUsage=false
# A tap reaches into the adapter, which knows nothing of it.

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import wait
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from weakref import ref

from romancy_conformance.taps.tap import Tap
from romancy_sqlite._connection import connect_as
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._file import SharedFile
from romancy_sqlite._guard import GuardedConnection, references

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future
    from pathlib import Path

    from romancy.storage.protocol import Store
    from romancy_conformance.taps.tap import Gate
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteTap"]

T = TypeVar("T")

_INLINE, _THREAD = "on the event loop's thread", "on the writer's thread"
_UNHEARD: Final = frozenset({"pragma", "rollback", "--"})
"""What is not part of a call, or must not fail when a call is given up."""
_WORDS: Final = frozenset({"begin", "commit", *_UNHEARD})
"""Statements that the suite knows by their first words."""
_LOOK: Final = 0.5
"""Seconds after which a statement that waits looks whether the test has ended."""
_PARAMETER = re.compile(r"\?\d*|:[a-z_]+")
_ROWS = "{rows}"
_VALUE = r"(?:NULL|x?'[^']*(?:''[^']*)*'|[-+.0-9e]+)"


class SqliteTap(Tap):
    """Hears what SQLite runs for a store. Each interleaving is played on both threads that may commit."""

    ways = (_INLINE, _THREAD)

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[Store, tuple[_HeardFile, SharedFile]] = {}

    def sender(self, store: Store) -> object:
        return store

    def listen(self, store: Store, gate: Gate, way: str) -> None:
        self.leave(store)
        ours = cast("SqliteStore", store)
        opened = ours._opened
        assert opened is not None, "the store is not open"
        usual, watch = opened
        file = _HeardFile(usual.path, usual.lock_timeout, _Ear(gate, ours._sql))
        file.writer.quick = way == _INLINE
        ours._opened = file, watch
        self._files[store] = file, usual

    def leave(self, store: Store) -> None:
        file, usual = self._files.pop(store, (None, None))
        if file is None or usual is None:
            return
        ours = cast("SqliteStore", store)
        if ours._opened is not None:
            ours._opened = usual, ours._opened[1]
        threading.Thread(target=file.close_after_calls).start()  # one of them may still be held
        said = f"{file.ear.deaf} was sent on the thread of the test: start the call with `run`"
        assert file.ran or not file.ear.deaf, said

    def run(self, store: Store, call: Awaitable[T]) -> asyncio.Future[T]:
        file = self._files[store][0]
        file.ran = True
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(file.called(call), _far_loop()))
        future.add_done_callback(lambda done: file.ear.give_up() if done.cancelled() else None)
        return future


class _Ear:
    """Waits on the thread of a statement until the gate, on the test's event loop, lets it pass."""

    def __init__(self, gate: Gate, sql: dict[str, str]) -> None:
        self._gate = gate
        self._names = [(_shape(text), name) for name, text in sql.items()]
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._waiting: Future[None] | None = None
        self._given_up = threading.Event()
        self.deaf: list[str] = []
        """Statements that could not wait, because the test's event loop ran them."""

    def hear(self, sql: str) -> bool:
        """Return whether the statement may run."""
        name = self._name(sql)
        if name in _UNHEARD:
            return True
        if threading.get_ident() == self._thread:
            self.deaf.append(name)
            return True
        if self._given_up.is_set():
            return False
        passed = self._passed(name)
        try:
            self._waiting = asyncio.run_coroutine_threadsafe(passed, self._loop)
            if self._given_up.is_set():  # in the meantime; `give_up` may have met an older wait
                self._waiting.cancel()
            while not self._waiting.done() and not self._loop.is_closed():
                wait([self._waiting], timeout=_LOOK)
            self._waiting.result(timeout=0)
        except BaseException:  # noqa: BLE001 - SQLite's callback can raise nothing
            return False
        finally:
            if self._loop.is_closed():  # the test has ended, and its last call with it
                passed.close()
        return True

    def give_up(self) -> None:
        """The call is cancelled: its present statement fails, as if its process had died here."""
        self._given_up.set()
        if self._waiting is not None:
            self._waiting.cancel()

    async def _passed(self, name: str) -> None:
        await self._gate(name)

    def _name(self, sql: str) -> str:
        word = sql.split(None, 1)[0].lower()
        if word in _WORDS:
            return word
        return next((name for shape, name in self._names if shape.fullmatch(sql)), word)


class _HeardFile(SharedFile):
    """A file with connections that report their statements."""

    def __init__(self, path: Path, lock_timeout: float, ear: _Ear) -> None:
        super().__init__(path, lock_timeout)
        self.ear = ear
        self.ran = False
        """Whether a call was started by `run`. What the test's own thread sends then is of another call."""
        self._calls: set[asyncio.Task[Any] | None] = set()
        self._report(self.writer._connection)

    async def called(self, call: Awaitable[T]) -> T:
        """Make the call, which may run on these connections, on the far loop."""
        task = asyncio.current_task()
        self._calls.add(task)
        try:
            return await call
        finally:
            self._calls.discard(task)

    def close_after_calls(self) -> None:
        """Close the connections once no call uses them. Blocks."""
        asyncio.run_coroutine_threadsafe(self._calls_ended(), _far_loop()).result()
        self.close()

    async def _calls_ended(self) -> None:
        while tasks := [task for task in self._calls if task is not None]:
            await asyncio.wait(tasks)

    def take_spare(self) -> GuardedConnection:
        connection = super().take_spare()
        if connection is None:
            connection = connect_as(GuardedConnection, self.path)
            self._report(connection)
            connection.alone = references([connection])
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = super()._connect_reader()
        self._report(connection)
        return connection

    def _report(self, connection: sqlite3.Connection) -> None:
        found: Callable[[], Any] = ref(connection) if isinstance(connection, GuardedConnection) else lambda: connection

        def traced(sql: str) -> None:
            sender = found()
            if not self.ear.hear(sql) and sender is not None:
                sender.interrupt()

        sqlite3.Connection.set_trace_callback(connection, traced)  # a session's own method would taint it


@cache
def _shape(text: str) -> re.Pattern[str]:
    """The statement with any values, as SQLite reports it."""
    parts = [_VALUE.join(map(re.escape, _PARAMETER.split(part))) for part in text.split(_ROWS)]
    return re.compile(".*".join(parts), re.DOTALL)


@cache
def _far_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="calls of held stores", daemon=True).start()
    return loop

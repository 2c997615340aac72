"""The only writer of a file in this process: a connection, a thread, and a lock around them.

Jobs that have queued up share one transaction (group commit). A lone job on a fast disk is committed on the event
loop's own thread instead, which saves two thread hops. A session or a checkpoint, which needs the file for longer,
takes its turn in the same queue. Knows no table.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import StorageUnavailableError
from romancy_sqlite._connection import Tx, UndoError, connect, patiently
from romancy_sqlite._driver import sqlite3
from romancy_sqlite._errors import is_busy, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Job", "Writer"]

Result = TypeVar("Result")
_log = logging.getLogger("romancy.sqlite")

_INLINE_LIMIT = 0.001
"""The average duration in seconds above which commits leave the event loop's thread."""
_LONGEST_COUNTED = 0.0025
"""Upper bound on the counted duration of a commit, in seconds. A single slow commit may be due to a busy machine; two
in a row exceed the limit on average.
"""
_GROUP_LIMIT = 512
_CACHE = 10240
"""Kilobytes of page cache. A batch of starts touches leaves all over its indexes. Ten thousand workflows at work read
no page more often with this than with 16 MB.
"""
_CHECKPOINT_AFTER = 1000
"""Weight (about pages) written between two checkpoints. A log that is restarted in time stays within its file, and
commits into an existing file are a fifth faster than those that extend it.
"""


class Job:
    """Work for one transaction, repeatable until it is committed, and the caller that waits for its result."""

    __slots__ = ("careful", "error", "future", "loop", "result", "sql", "touched", "weight", "work")

    def __init__(self, work: Callable[[Tx], Any], sql: dict[str, str], *, weight: int = 1) -> None:
        self.work = work
        self.sql = sql
        self.weight = weight
        self.careful = False
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None
        self.touched: set[str] = set()

    def settle(self) -> None:
        """Answer the caller, on its own loop. It may have gone away."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Makes all writes of this process to one file, one transaction at a time."""

    def __init__(
        self, path: Path, *, lock_timeout: float, stop: threading.Event, tell: Callable[[set[str] | None], None]
    ) -> None:
        self._path = path
        self._lock_timeout = lock_timeout
        self._tell = tell
        self._connection = connect(path)
        self._connection.execute(f"pragma cache_size = -{_CACHE}")
        self._execute: Callable[[str, Any], sqlite3.Cursor] = self._connection.cursor().execute
        self._checkpointer = connect(path)
        self._alone = threading.Lock()
        self._stop = stop
        self._queue: SimpleQueue[Job | Callable[[], None] | None] = SimpleQueue()
        self._pace: float | None = None
        self.quick = False
        """Whether commits are so short that the event loop's thread may make one."""
        self._weight = 0
        self._version = self._data_version()
        self._thread = threading.Thread(target=self._main, name=f"romancy-sqlite {path}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job for the thread, which commits it together with other queued jobs."""
        self._queue.put(job)

    def take_turn(self, action: Callable[[], None]) -> None:
        """Queue work that needs the file for itself: nothing else in this process writes while it runs."""
        self._queue.put(action)

    def write_one(self, sql: str, row: Sequence[object], size: int) -> bool:
        """Commit one row of about this size on this thread. False if it was not written."""
        if not (self.quick and self._queue.empty() and self._alone.acquire(False)):  # noqa: FBT003 - a name costs more
            return False  # commits are long, or it would have to wait
        started = time.perf_counter()
        try:
            written = self._execute(sql, row).rowcount == 1
            self._measure(time.perf_counter() - started, 1 + (size >> 11))
        except Exception:  # noqa: BLE001 - the thread will get it again and translate it
            return False
        finally:
            self._alone.release()
        return written

    def run_inline(self, work: Callable[[Tx], Result], sql: dict[str, str], weight: int) -> tuple[Result] | None:
        """Commit lone work on this thread. None, with nothing done, if that could make the event loop wait."""
        if not (self.quick and self._queue.empty() and self._alone.acquire(blocking=False)):
            return None
        started = time.perf_counter()
        try:
            self._connection.execute("begin immediate")
            tx = Tx(self._connection, sql)
            result = work(tx)
            self._connection.execute("commit")
            self._measure(time.perf_counter() - started, weight)
        except BaseException as error:
            self._roll_back()
            if isinstance(error, Exception):
                return None  # the thread repeats it, waits for locks and translates errors
            raise
        finally:
            self._alone.release()
        if tx.touched:
            self._tell(tx.touched)
        return (result,)

    def changed_by_others(self) -> bool | None:
        """Whether another connection has committed since the last call. None while this process writes."""
        if not self._alone.acquire(blocking=False):
            return None
        try:
            version = self._data_version()
        finally:
            self._alone.release()
        changed = version != self._version
        self._version = version
        return changed

    def close(self) -> None:
        """End the thread after its present work. Queued jobs fail. Blocks."""
        self._queue.put(None)
        self._thread.join()

    # --- on the thread ----------------------------------------------------------------------------------------

    def _main(self) -> None:
        while (first := self._queue.get()) is not None:
            group, action = self._drain(first)
            with self._alone:
                if group:
                    self._write(group)
                if action is not None:
                    _carry_out(action)
        self._refuse_rest()
        self._checkpointer.close()
        self._connection.close()

    def _drain(self, first: Job | Callable[[], None]) -> tuple[list[Job], Callable[[], None] | None]:
        group: list[Job] = []
        entry: Job | Callable[[], None] | None = first
        while isinstance(entry, Job):
            group.append(entry)
            if len(group) == _GROUP_LIMIT:
                return group, None
            try:
                entry = self._queue.get_nowait()
            except Empty:
                return group, None
        if entry is None:
            self._queue.put(None)
        return group, entry

    def _write(self, group: list[Job]) -> None:
        """Commit the group in one transaction. A job that raises is taken out and the others are written again.

        The first attempt is optimistic: it can only be undone as a whole.
        """
        jobs: list[Job] = [job for job in group if not job.future.done()]
        while jobs:
            guilty = self._attempt(jobs)
            if guilty is None:
                self._settle(jobs)
                return
            if isinstance(guilty.error, UndoError) and not guilty.careful:
                guilty.error = None
                for job in jobs:
                    job.careful = True
                continue
            jobs = [job for job in jobs if job is not guilty]
            self._settle([guilty])

    def _attempt(self, jobs: list[Job]) -> Job | None:
        current: Job | None = None
        started = time.perf_counter()
        try:
            execute = self._connection.execute
            patiently(partial(execute, "begin immediate"), seconds=self._lock_timeout, stop=self._stop)
            for job in jobs:
                current = job
                tx = Tx(self._connection, job.sql, careful=job.careful)
                job.result = job.work(tx)
                job.touched = tx.touched
            current = None
            patiently(partial(execute, "commit"), seconds=self._lock_timeout, stop=self._stop)
            self._measure((time.perf_counter() - started) / len(jobs), sum(job.weight for job in jobs))
        except BaseException as error:  # noqa: BLE001 - every error goes to its caller, not to this thread
            self._roll_back()
            if current is None:
                for job in jobs:
                    job.error = translate(error, self._path)
                return None
            current.error = translate(error, self._path)
        return current

    def _settle(self, jobs: list[Job]) -> None:
        """Answer the callers. Wake watchers first: a caller may poll immediately."""
        touched = set[str]()
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in jobs:
            by_loop.setdefault(job.loop, []).append(job)
            if job.error is None:
                touched |= job.touched
        if touched:
            self._tell(touched)
        for loop, its in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle_all, its)
            except RuntimeError:
                continue  # that loop is closed: no caller waits there any more

    def _refuse_rest(self) -> None:
        error = StorageUnavailableError(f"SQLite file {self._path}: the store was closed during the call")
        while not self._queue.empty():
            entry = self._queue.get()
            if isinstance(entry, Job):
                entry.error = error
                self._settle([entry])

    def _checkpoint(self) -> None:
        """Copy the write-ahead log into the database while holding the write lock.

        No commit happens meanwhile, so the whole log is copied and the next commit restarts it. Two processes also
        never meet in the moment in between, where SQLite before 3.51.3 can damage the file.
        """
        try:
            patiently(lambda: self._connection.execute("begin immediate"), seconds=1)
            self._checkpointer.execute("pragma wal_checkpoint(passive)").fetchall()
            self._weight = 0
        except sqlite3.Error as error:  # a checkpoint is never urgent: the next one will do
            if not is_busy(error):
                _log.warning("the write-ahead log was not copied back: %s", translate(error, self._path))
        finally:
            self._roll_back()

    # --- under the lock ---------------------------------------------------------------------------------------

    def _measure(self, seconds: float, weight: int) -> None:
        if seconds > _LONGEST_COUNTED:  # noqa: PLR1730 - a call of `min` costs as much as all else here
            seconds = _LONGEST_COUNTED
        self._pace = seconds if self._pace is None else 0.8 * self._pace + 0.2 * seconds
        self.quick = self._pace <= _INLINE_LIMIT
        self.wrote(weight)

    def wrote(self, weight: int) -> None:
        """Count the pages written, here or by a session in its turn, and queue a checkpoint in time."""
        before, self._weight = self._weight, self._weight + weight
        if before // _CHECKPOINT_AFTER != self._weight // _CHECKPOINT_AFTER:
            self._queue.put(self._checkpoint)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    def _data_version(self) -> int:
        return int(self._connection.execute("pragma data_version").fetchone()[0])


def _carry_out(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001 - the thread must survive any action
        _log.exception("the writer continues without it")


def _settle_all(jobs: list[Job]) -> None:
    for job in jobs:
        job.settle()

"""One file in this process: its writer, its readers and its watches, shared by all stores on the file."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn, TypeVar

from romancy.errors import DatabaseReplacedError, StorageConfigurationError, StorageUnavailableError, UsageError
from romancy_sqlite._connection import Tx, connect, now, patiently
from romancy_sqlite._ear import announce
from romancy_sqlite._errors import translate
from romancy_sqlite._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from romancy_sqlite._driver import sqlite3
    from romancy_sqlite._guard import GuardedConnection
    from romancy_sqlite._settings import Settings
    from romancy_sqlite._watch import Watch

__all__ = ["SharedFile", "acquire", "release"]

Result = TypeVar("Result")

_READERS = 2
_LEAST_BETWEEN_LOOKS = 0.01
_REPLACED = (
    "SQLite file {path}: it {what} while it was open; nothing more is written, because it would be lost with this "
    "process. Stop every process that uses the file, put the right one in its place, and start them again"
)
_files: dict[tuple[int, int], SharedFile] = {}
_files_lock = threading.Lock()


class SharedFile:
    """The connections to one file. Exists while at least one store has the file open."""

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        self.refuses = False
        """Whether all work is refused: this is a child of the process that opened the file, or it was replaced."""
        self.users = 1
        self.watches: set[Watch] = set()
        self.lock_timeout = lock_timeout
        _enter_wal(path, lock_timeout)
        self.identity = "{}:{}".format(*_identity(path))
        """Identifies the file, whatever its name."""
        self.stop = threading.Event()
        """Set when the file is being closed: no thread waits for other processes any more."""
        self.writer = Writer(path, lock_timeout=lock_timeout, stop=self.stop, tell=self.tell)
        self.spare: GuardedConnection | None = None
        """A connection that a session has left unchanged. Belongs to the writer's thread."""
        self._executor = ThreadPoolExecutor(_READERS, thread_name_prefix="romancy-sqlite-read")
        self._looked = 0.0
        self._names = str(path), f"{path}-wal"
        self.log = f"{os.path.realpath(path)}-wal"
        """The write-ahead log, which SQLite makes beside the file that a symbolic link leads to."""
        self._opened = {str(path): _identity(path)}
        """Device and inode of the open files, which other files may replace under their names."""
        self.replaced: str | None = None
        self._idle: list[sqlite3.Connection] = []

    now = staticmethod(now)
    """The database's time in microseconds, which for a file is the machine's."""

    def take_spare(self) -> GuardedConnection | None:
        """A connection for a session, if one is spare. Opening one costs as much as the session's own COMMIT."""
        spare, self.spare = self.spare, None
        return spare

    def tell(self, instance_ids: set[str] | None) -> None:
        """From any thread: wake the callers that wait for these instances, here and in other processes."""
        self._wake(instance_ids)
        announce(self.log)

    def _wake(self, instance_ids: set[str] | None) -> None:
        for watch in tuple(self.watches):
            watch.tell(instance_ids)

    def look(self) -> None:
        """Wake all callers if another process has written. Simultaneous calls look once."""
        moment = time.monotonic()
        if moment - self._looked < _LEAST_BETWEEN_LOOKS:
            return
        self._looked = moment
        self._look_for_file()
        self.catch_up()

    def check_file(self) -> None:
        """Raise `DatabaseReplacedError`, from then on always, once the path leads to another file than the open one."""
        self._look_for_file()
        if self.replaced is not None:
            raise DatabaseReplacedError(self.replaced)

    def refuse(self) -> NoReturn:
        """Refuse all work: another process opened the file, or the path leads to another file."""
        if self.replaced is None:
            raise _forked(self.path)
        raise DatabaseReplacedError(self.replaced)

    def _look_for_file(self) -> None:
        """Check that the file and its write-ahead log are still the open ones. These stay while the file is open."""
        for path in self._names:
            try:
                status = os.stat(path)  # noqa: PTH116 - often, and a path object costs as much again
            except FileNotFoundError:
                found = None
            except OSError:
                continue  # the disk does not answer now
            else:
                found = status.st_dev, status.st_ino
            if path in self._opened and found != self._opened[path]:
                what = "was deleted or moved" if found is None else "was replaced by another"
                self.replaced, self.refuses = self.replaced or _REPLACED.format(path=path, what=what), True
            elif found is not None:
                self._opened[path] = found

    def catch_up(self) -> bool:
        """Wake all callers that were not told of writes by other connections so far. Whether it could look for them."""
        changed = self.writer.changed_by_others()
        if changed:
            self._wake(None)
        return changed is not None

    async def read(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> Result:
        """Run queries on one snapshot of the database, off the event loop."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, self._read, sql, work)
        except RuntimeError as error:
            raise StorageUnavailableError(f"SQLite file {self.path}: the store is closed") from error

    def _read(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> Result:
        try:
            connection = self._idle.pop() if self._idle else self._connect_reader()
            try:
                patiently(lambda: connection.execute("begin"), seconds=self.lock_timeout)
                return patiently(lambda: work(Tx(connection, sql)), seconds=self.lock_timeout)
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")
                self._idle.append(connection)
        except Exception as error:
            raise translate(error, self.path) from error

    def _connect_reader(self) -> sqlite3.Connection:
        self.check_file()  # SQLite would make a new file in the place of a deleted one
        connection = connect(self.path)
        try:
            self.check_file()
        except BaseException:
            connection.close()
            raise
        connection.execute("pragma query_only = on")
        return connection

    def close(self) -> None:
        """End threads and connections. Blocks until their work is done."""
        self._executor.shutdown(wait=True)
        for connection in self._idle:
            connection.close()
        self.stop.set()
        self.writer.close()
        if self.spare is not None:
            self.spare.really_close()

    def check_process(self) -> None:
        """Refuse use in a child process: SQLite's locks do not survive a fork."""
        if self.refuses and self.replaced is None:
            raise _forked(self.path)


def _refuse_in_child() -> None:
    """In a child process, refuse the files that its parent has open."""
    for shared in _files.values():
        shared.refuses, shared.replaced = True, None


if hasattr(os, "register_at_fork"):  # asking for the process at each call would cost a call of the system
    os.register_at_fork(after_in_child=_refuse_in_child)


def acquire(settings: Settings) -> SharedFile:
    """This process's `SharedFile`, made at first use. Blocks."""
    with _files_lock:
        key = _identity(settings.path)
        shared = _files.get(key)
        if shared is not None:
            shared.check_process()
            shared.users += 1
            return shared
        try:
            shared = _files[key] = SharedFile(settings.path, settings.lock_timeout)
        except Exception as error:
            raise translate(error, settings.path, opening=True) from error
        return shared


def release(shared: SharedFile) -> None:
    """Release the file. The last user closes it. Blocks."""
    with _files_lock:
        shared.users -= 1
        if shared.users:
            return
        for key in [key for key, value in _files.items() if value is shared]:
            del _files[key]
        shared.close()


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode of the file, which is made if it does not exist: for its owner alone.

    SQLite gives the files beside it the same mode. The mode of an existing file is left as it is.
    An existing file is never opened here: closing it again would drop the locks that SQLite holds for this process.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except FileNotFoundError as error:
        if path.parent.is_dir():  # as in /proc, whose file system says so of every new name
            raise _cannot_be_created(path, error) from error
        raise StorageConfigurationError(
            f"SQLite file {path}: the folder {path.parent} does not exist; create it, or correct the storage URL "
            "(three slashes before a relative path, four before an absolute one)"
        ) from None
    except OSError as error:
        raise _cannot_be_created(path, error) from error
    if path.is_dir():
        raise StorageConfigurationError(f"SQLite file {path}: this is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise StorageConfigurationError(f"SQLite file {path}: this is a device, a pipe or a socket; name a file")
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK)):
        raise StorageConfigurationError(
            f"SQLite file {path}: this user may not write to the file or its folder; Romancy needs both. A file that "
            "Romancy makes is for its own user alone; `chmod 660` shares it with its group"
        )
    status = path.stat()
    return status.st_dev, status.st_ino


def _cannot_be_created(path: Path, error: OSError) -> StorageConfigurationError:
    why = "its file system takes no new files" if isinstance(error, FileNotFoundError) else error.strerror
    return StorageConfigurationError(
        f"SQLite file {path}: cannot be created ({why}); Romancy must be able to write to the folder"
    )


def _enter_wal(path: Path, lock_timeout: float) -> None:
    connection = connect(path)
    try:
        mode = patiently(
            lambda: str(connection.execute("pragma journal_mode = wal").fetchone()[0]), seconds=lock_timeout
        )
    finally:
        connection.close()
    if mode != "wal":
        raise StorageConfigurationError(
            f"SQLite file {path}: write-ahead logging is not possible there (it stays in mode {mode!r}); "
            "use a local disk, not a network folder"
        )


def _forked(path: Path) -> UsageError:
    return UsageError(
        f"SQLite file {path}: it was opened before this process was forked, and its locks are the parent's; "
        "open the store after the fork, or start workers with spawn"
    )

"""The servers of one run: made by one process, used by all of its children, and removed with it in every case.

The process that first needs a server becomes the owner. It makes a folder named after itself and answers requests on a
socket in that folder; its children inherit the socket's path in the environment. Every process asks there, so the owner
starts each server once, as its own child. The owner deletes the folder when it closes the run or exits. A watchdog
clears the folder when the owner is killed. If the watchdog was killed as well, the next run clears what dead owners
left.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from . import processes
from .access import Shared, access_by_url
from .account import hand_over, is_reachable
from .cache import in_words
from .kinds import Kind, ServerUnavailableError
from .mysql import MariaDBServer, MySQLServer
from .postgres import PostgresServer
from .processes import Process, clear_folder
from .programs import find_program
from .tidb import TidbServer
from .vitess import VitessServer

if TYPE_CHECKING:
    from .server import Server

RUN_VARIABLE = "ROMANCY_TEST_RUN"
_SERVERS: dict[Kind, type[Server]] = {
    Kind.POSTGRES: PostgresServer,
    Kind.MYSQL: MySQLServer,
    Kind.MARIADB: MariaDBServer,
    Kind.TIDB: TidbServer,
    Kind.VITESS: VitessServer,
}


class Run(ABC):
    """The servers of one run, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)

    @abstractmethod
    def shared(self, kind: Kind) -> Shared:
        """Return the server of `kind` that the whole run shares; the first request starts it."""

    def private(self, kind: Kind) -> Server:
        """Return a server for the caller alone, not started yet, to kill and freeze; close it after use."""
        return self._make(kind, f"{kind}-{os.getpid()}-{next(self._numbers)}")

    def own_folder(self, name: str) -> Path:
        """Return a folder for servers of the caller's that belong together, removed with the run."""
        folder = self.folder / f"{name}-{os.getpid()}-{next(self._numbers)}"
        folder.mkdir()
        hand_over(folder)
        return folder

    def _make(self, kind: Kind, name: str) -> Server:
        return _SERVERS[kind](find_program(kind), self.folder / name)


class OwnRun(Run):
    """The run that this process owns."""

    def __init__(self) -> None:
        try:
            self._owner = Process.current()
        except RuntimeError as error:
            raise ServerUnavailableError(str(error)) from error
        clear_leftovers()
        folder = _base() / str(self._owner)
        folder.mkdir()
        folder.chmod(0o711)  # whatever the umask: the servers' account must pass
        super().__init__(folder)
        self._servers: list[Server] = []
        self._known: dict[Kind, Shared | ServerUnavailableError] = {}
        self._locks = {kind: threading.Lock() for kind in Kind}
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", processes.__file__, str(self._owner), str(folder)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._listener = _Listener(self)
        atexit.register(self.close)

    def shared(self, kind: Kind) -> Shared:
        with self._locks[kind]:
            if kind not in self._known:
                try:
                    self._known[kind] = self._start(kind)
                except OSError as error:
                    self._known[kind] = ServerUnavailableError(f"{kind} cannot be started: {in_words(error)}")
                except ServerUnavailableError as error:
                    self._known[kind] = ServerUnavailableError(str(error))
            known = self._known[kind]
        if isinstance(known, ServerUnavailableError):
            raise ServerUnavailableError(str(known))
        return known

    def close(self) -> None:
        """End every server of the run and delete its folder; only the owner does this, and only once."""
        if Process.current() != self._owner or not self.folder.exists():
            return
        self._listener.close()
        with ExitStack() as stack:
            for lock in self._locks.values():  # no start may be in progress any more
                stack.enter_context(lock)
            for server in self._servers:
                server.close()
        clear_folder(self.folder)
        self._watchdog.terminate()
        self._watchdog.wait()
        atexit.unregister(self.close)

    def _start(self, kind: Kind) -> Shared:
        server = self._make(kind, str(kind))
        self._servers.append(server)
        server.start()
        return Shared(server.access, server.version, server.program.origin)


class JoinedRun(Run):
    """The run of an ancestor of this process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._known: dict[Kind, Shared] = {}

    def shared(self, kind: Kind) -> Shared:
        if kind not in self._known:
            answer = json.loads(_ask(self.folder, kind))
            if reason := answer.get("unavailable"):
                raise ServerUnavailableError(reason)
            access = access_by_url(kind, answer["url"], answer["socket"])
            self._known[kind] = Shared(access, answer["version"], answer["origin"])
        return self._known[kind]


class _Listener:
    """Answers the owner's children: it reads a line with a kind and writes a line of JSON."""

    def __init__(self, run: OwnRun) -> None:
        self._run = run
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(_control(run.folder)))
        self._socket.listen(64)
        self._thread = threading.Thread(target=self._listen, name="romancy-servers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                asking, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._answer, args=(asking,), daemon=True).start()

    def _answer(self, asking: socket.socket) -> None:
        with asking, asking.makefile("rw", encoding="utf-8") as stream:
            kind = Kind(stream.readline().strip())
            try:
                shared = self._run.shared(kind)
            except ServerUnavailableError as error:
                answer: dict[str, str | None] = {"unavailable": str(error)}
            else:
                access = shared.access
                answer = {
                    "url": access.url(),
                    "socket": access.socket,
                    "version": shared.version,
                    "origin": shared.origin,
                }
            stream.write(json.dumps(answer) + "\n")


def _ask(folder: Path, kind: Kind) -> str:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(_control(folder)))
        with asking.makefile("rw", encoding="utf-8") as stream:
            stream.write(f"{kind}\n")
            stream.flush()
            if answer := stream.readline():
                return answer
    raise ServerUnavailableError("the process that owns the servers of this run has ended")


def _control(folder: Path) -> Path:
    return folder / "control"


def _base() -> Path:
    """Return the folder of all runs of this user; others may only traverse it."""
    base = Path(tempfile.gettempdir()) / f"romancy-servers-{os.geteuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.is_symlink() or base.stat().st_uid != os.geteuid():
        raise ServerUnavailableError(f"{base} belongs to somebody else: remove it, or set TMPDIR")
    base.chmod(0o711)
    if not is_reachable(base):
        raise ServerUnavailableError(
            f"the account that servers run under cannot reach {base}: set TMPDIR to a folder it can"
        )
    return base


def runs() -> dict[Path, bool]:
    """Yield the folder of every run of this user on this machine, and whether its owner is alive."""
    folders = [folder for folder in _base().iterdir() if folder.is_dir()]
    return {folder: Process.parse(folder.name).is_alive() for folder in folders}


def clear_leftovers() -> list[Path]:
    """End the servers and delete the folders of dead owners; return the folders that were there."""
    left = [folder for folder, alive in runs().items() if not alive]
    for folder in left:
        clear_folder(folder)
    return left


_current: Run | None = None
_current_lock = threading.Lock()


def current_run() -> Run:
    """Return the run this process belongs to; without one, the process becomes the owner of a new one."""
    global _current  # noqa: PLW0603 - one run per process is what this module is about
    with _current_lock:
        if _current is None or not _current.folder.exists():
            inherited = Path(os.environ.get(RUN_VARIABLE, ""))
            if inherited.name and _control(inherited).exists() and Process.parse(inherited.name).is_alive():
                _current = JoinedRun(inherited)
            else:
                _current = OwnRun()
                os.environ[RUN_VARIABLE] = str(_current.folder)
        return _current


def close_run() -> None:
    """Close the run if this process owns it; the next `current_run` begins another one."""
    global _current  # noqa: PLW0603
    with _current_lock:
        if isinstance(_current, OwnRun):
            _current.close()
            os.environ.pop(RUN_VARIABLE, None)
        _current = None

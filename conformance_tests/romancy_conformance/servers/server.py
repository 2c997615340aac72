"""A private database server in its own folder: started, stopped, killed, frozen. Durable as in production.

A few methods in `postgres.py` and `mysql.py` have the differences between databases: the command line, how to
initialise data, and how to ask for an orderly stop.
"""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import socket
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

from .access import Access, AccessError, access_to
from .account import hand_over, spawn
from .cache import build_once, cache_folder, in_words
from .kinds import ServerUnavailableError
from .processes import clear_folder, kill_all, signal_all

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from .kinds import Kind
    from .programs import Program

MAX_CONNECTIONS = 500
USER = "romancy"
_LAYOUT = 2  # raise it when `initialise` changes
_START_DEADLINE = 90.0
_STOP_DEADLINE = 60.0
_READINESS_POLL = 0.02
_START_ATTEMPTS = 5
# Below the range the system assigns to outgoing connections, so that a restarted server finds its port free.
_PORTS = range(20_000, 32_000)


class Server(ABC):
    """One database server on 127.0.0.1 with its data in `folder`; it keeps its port and its password."""

    orderly_stop: ClassVar[signal.Signals]

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.port = free_port()
        self._version = ""
        self._process: subprocess.Popen[bytes] | None = None
        template = _template(self)
        self._password = (template / "password").read_text(encoding="utf-8")
        try:
            folder.mkdir(parents=True)
            shutil.copytree(template / "data", self.data)
            hand_over(folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ServerUnavailableError(
                f"{folder} cannot hold the data of a server: {in_words(error)}; set TMPDIR to one with room for 500 MB"
            ) from error

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def kind(self) -> Kind:
        return self.program.kind

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def version(self) -> str:
        """The version that the running server reported, such as `PostgreSQL 15.18`; empty before the first start."""
        return self._version

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # --- what a client does with it -----------------------------------------------------------------------------

    @property
    def access(self) -> Access:
        return access_to(
            self.kind, user=USER, password=self._password, host="127.0.0.1", port=self.port, socket=str(self.socket)
        )

    def url(self, database: str) -> str:
        return self.access.url(database)

    def fresh_database(self) -> str:
        """Create an empty database and return its URL."""
        return self.access.fresh_database()

    def create_database(self, name: str) -> None:
        self.access.create_database(name)

    def drop_database(self, name: str) -> None:
        self.access.drop_database(name)

    # --- its life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start on the existing data and return when the server answers; a running server is left as it is."""
        for _ in range(_START_ATTEMPTS):
            if self.is_running or self._started():
                return
            if self._version or "address already in use" not in self._last_words().lower():
                break
            self.port = free_port()
        raise ServerUnavailableError(f"{self.program.server.name} ended while starting:\n{self._last_words()}")

    def stop(self) -> None:
        """Shut down in an orderly way; the data stays."""
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(self.orderly_stop)
        try:
            self._process.wait(_STOP_DEADLINE)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL every process of the server and return when none is left; the data stays as it is."""
        kill_all(self.data)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP every process of the server: connections stay open and nothing answers, until `thaw`."""
        signal_all(self.data, signal.SIGSTOP)

    def thaw(self) -> None:
        signal_all(self.data, signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and delete its folder."""
        self.kill()
        clear_folder(self.folder)

    # --- what each database fills in ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def socket(self) -> Path:
        """The path of its Unix socket."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command that serves `data` on `port` and `socket`, with durability settings as in production."""

    @abstractmethod
    def initialise(self, data: Path, password: str, output: IO[bytes]) -> None:
        """Initialise the empty folder `data`, with `USER` as administrator and a password required of every user."""

    # --- inside -------------------------------------------------------------------------------------------------

    def _started(self) -> bool:
        """Start the process and wait until the server answers (True) or has ended (False)."""
        with self.log.open("ab") as log:
            self._process = spawn(self.command(), self.data, output=log)
        deadline = time.monotonic() + _START_DEADLINE
        while self.is_running:
            if self._answers():
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(_READINESS_POLL)
        self.kill()
        return False

    def _answers(self) -> bool:
        """Ask for the version, through the socket and as the user of the URLs.

        After this MySQL has cached the password's hash, and accepts drivers over TCP that cannot encrypt the password.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket)) != 0:
                return False
        try:
            self._version = self.access.version()
        except AccessError:
            return False
        return True

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _template(server: Server) -> Path:
    """Return a folder with initialised data and its password, made once for each program."""

    def build(folder: Path) -> None:
        password = secrets.token_hex(12)
        (folder / "data").mkdir(mode=0o700)
        (folder / "password").write_text(password, encoding="utf-8")
        (folder / "password").chmod(0o600)
        hand_over(folder)
        with (folder / "log").open("wb") as log:
            server.initialise(folder / "data", password, log)

    program = server.program
    name = re.sub(r"[^\w.]+", "-", f"{program.kind}-{program.version}-{program.origin}-{_LAYOUT}")
    return build_once(cache_folder() / "templates" / name, build)


def run_once(command: Sequence[str | Path], cwd: Path, *, output: IO[bytes], stdin: IO[bytes] | None = None) -> None:
    """Run a database's command to its end; `output` is the open log for its output."""
    if (code := spawn(command, cwd, output=output, stdin=stdin).wait()) != 0:
        said = "\n".join(Path(output.name).read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise ServerUnavailableError(f"{Path(command[0]).name} ended with {code}:\n{said}")


def free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

"""PgBouncer before a PostgreSQL server: in a mode, with settings of the caller's.

A program on the machine is used if it keeps prepared statements (1.21 or newer). Otherwise one is unpacked from Debian
packages; ROMANCY_TEST_PGBOUNCER_SUITE names the suite.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from .account import hand_over, spawn
from .debian import unpack
from .kinds import ServerUnavailableError
from .processes import clear_folder, kill_all
from .run import current_run
from .server import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .access import Access

_SUITE_VARIABLE = "ROMANCY_TEST_PGBOUNCER_SUITE"
_SUITE = "trixie"
_KEEPS_STATEMENTS = (1, 21)
_numbers = itertools.count(1)
_START_DEADLINE, _READINESS_POLL = 30.0, 0.02


class PgBouncer:
    """One PgBouncer on 127.0.0.1 before the server of an access. Started by `start`, removed by `close`."""

    def __init__(
        self,
        access: Access,
        *,
        mode: str = "transaction",
        settings: Mapping[str, str] | None = None,
        for_sessions: Mapping[str, str] | None = None,
    ) -> None:
        """`for_sessions` are settings that the pooler makes in each session of the server."""
        self._program, self.version = find_pgbouncer()
        self._access = access
        self._folder = current_run().folder / f"pgbouncer-{os.getpid()}-{next(_numbers)}"
        self._settings = {"pool_mode": mode} | dict(settings or {})
        self._for_sessions = dict(for_sessions or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __str__(self) -> str:
        return f"PgBouncer {self.version}, {self._settings['pool_mode']} mode"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, url: str) -> str:
        """The URL of a database of the server, through the pooler."""
        parts = urlsplit(url)
        account = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{account}@127.0.0.1:{self.port}").geturl()

    def start(self) -> None:
        """Start the pooler and return when it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o711)
        users = f'"{self._access.user}" "{self._access.password}"\n'
        (self._folder / "users.txt").write_text(users, encoding="utf-8")
        (self._folder / "pgbouncer.ini").write_text(self._configuration(), encoding="utf-8")
        hand_over(self._folder)
        with (self._folder / "log").open("ab") as log:
            self._process = spawn([self._program, self._folder / "pgbouncer.ini"], self._folder, output=log)
        deadline = time.monotonic() + _START_DEADLINE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
                self.close()
                raise ServerUnavailableError("PgBouncer ended while starting:\n" + "\n".join(said))
            time.sleep(_READINESS_POLL)

    def kill(self) -> None:
        """End the pooler, with all of its connections."""
        kill_all(self._folder)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the pooler and delete its folder."""
        self.kill()
        clear_folder(self._folder)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _configuration(self) -> str:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(self._folder / "users.txt"),
            "max_client_conn": "1000",
            "default_pool_size": "20",
            # It otherwise waits 15 s if a database did not let it in, as one does that is being made empty.
            "server_login_retry": "0.5",
            "log_connections": "0",
            "log_disconnections": "0",
        } | self._settings
        lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
        greeting = "; ".join(f"set {name} = {value}" for name, value in self._for_sessions.items())
        server = f"host=127.0.0.1 port={self._access.port}" + (f" connect_query='{greeting}'" if greeting else "")
        return f"[databases]\n* = {server}\n[pgbouncer]\n{lines}\n"


def find_pgbouncer() -> tuple[Path, str]:
    """The program and its version; it is unpacked into the cache if the machine has none that will do."""
    suite = os.environ.get(_SUITE_VARIABLE)
    found = None if suite else shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found and (version := _version(Path(found))) and _parts(version) >= _KEEPS_STATEMENTS:
        return Path(found), version
    program = unpack("pgbouncer", suite or _SUITE) / "usr/sbin/pgbouncer"
    if version := _version(program):
        return program, version
    raise ServerUnavailableError(f"{program} does not run")


def _version(program: Path) -> str | None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    number = re.search(r"\d+(?:\.\d+)+", said)
    return None if number is None else number[0]


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))

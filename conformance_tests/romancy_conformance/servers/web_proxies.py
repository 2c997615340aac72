"""nginx, HAProxy and Caddy before an HTTP server, arranged as their users arrange them.

A program on the machine is used. Otherwise one is unpacked from Debian packages; ROMANCY_TEST_NGINX_SUITE,
…HAPROXY_SUITE and …CADDY_SUITE name the suite.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .account import hand_over, spawn
from .debian import unpack
from .kinds import ServerUnavailableError
from .processes import clear_folder, kill_all
from .run import current_run
from .server import free_port

if TYPE_CHECKING:
    from .arrangements import Arrangement

_COMMANDS: Final = {
    "nginx": ("usr/sbin/nginx", ("-p", "{folder}", "-e", "stderr", "-c", "{folder}/settings")),
    "haproxy": ("usr/sbin/haproxy", ("-db", "-f", "{folder}/settings")),
    "caddy": ("usr/bin/caddy", ("run", "--adapter", "caddyfile", "--config", "{folder}/settings")),
}
_CERTIFICATE: Final = """\
[req]
distinguished_name = name
x509_extensions = names
prompt = no
[name]
CN = shop.example.com
[names]
subjectAltName = DNS:shop.example.com
"""
_numbers = itertools.count(1)
_START_DEADLINE, _READINESS_POLL = 30.0, 0.02


@dataclass(frozen=True, slots=True)
class Upstream:
    """The HTTP server behind a proxy. It listens at a loopback address."""

    port: int
    host: str = "127.0.0.1"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class WebProxy:
    """One proxy on 127.0.0.1 before an HTTP server. Started by `start`, removed by `close`."""

    def __init__(self, arrangement: Arrangement, upstream: Upstream) -> None:
        self.arrangement = arrangement
        self.port = free_port()
        self._upstream = upstream
        self._program = find_web_proxy(arrangement.program)
        self._folder = current_run().folder / f"{arrangement.program}-{os.getpid()}-{next(_numbers)}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the proxy and return when it listens."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o711)
        if self.arrangement.https:
            self._make_certificate()
        settings = self.arrangement.settings(self._folder, self.port, str(self._upstream))
        (self._folder / "settings").write_text(settings, encoding="utf-8")
        hand_over(self._folder)
        arguments = (part.format(folder=self._folder) for part in _COMMANDS[self.arrangement.program][1])
        with (self._folder / "log").open("ab") as log:
            self._process = spawn([self._program, *arguments], self._folder, output=log)
        deadline = time.monotonic() + _START_DEADLINE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
                self.close()
                raise ServerUnavailableError(f"{self.arrangement} ended while starting:\n" + "\n".join(said))
            time.sleep(_READINESS_POLL)

    def close(self) -> None:
        """End the proxy and delete its folder."""
        kill_all(self._folder)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        clear_folder(self._folder)

    def connect(self) -> socket.socket:
        """A connection of a stranger to the proxy, inside TLS where the proxy ends that."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        if not self.arrangement.https:
            return plain
        context = ssl.create_default_context(cafile=str(self._folder / "certificate"))
        return context.wrap_socket(plain, server_hostname="shop.example.com")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _make_certificate(self) -> None:
        """A key and a certificate for shop.example.com; HAProxy wants both in one file."""
        program = shutil.which("openssl") or str(unpack("openssl", None) / "usr/bin/openssl")
        (self._folder / "request").write_text(_CERTIFICATE, encoding="utf-8")
        subprocess.run(
            [
                *(program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
                *("-config", "request", "-keyout", "key", "-out", "certificate"),
            ],
            cwd=self._folder,
            check=True,
            capture_output=True,
        )
        both = (self._folder / name for name in ("certificate", "key"))
        (self._folder / "both").write_text("".join(path.read_text("ascii") for path in both), encoding="ascii")


def find_web_proxy(name: str) -> Path:
    """The program; it is unpacked into the cache if the machine has none."""
    if sys.platform != "linux":
        raise ServerUnavailableError("private servers need Linux")
    suite = os.environ.get(f"ROMANCY_TEST_{name.upper()}_SUITE")
    found = None if suite else shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found:
        return Path(found)
    program = unpack(name, suite) / _COMMANDS[name][0]
    if program.exists():
        return program
    raise ServerUnavailableError(f"the package {name} holds no {program.name}")

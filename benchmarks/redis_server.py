"""A private Redis for queues: on a free port, removed afterwards.

It appends each command to a file. As its documentation advises, it flushes that file once a second (`appendonly yes`,
`appendfsync everysec`), so a power cut may take back the last second; with `always`, it answers a command when it is on
the disk, as the databases do. The program is the machine's, or is unpacked from Debian packages.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from romancy_conformance.servers import ServerUnavailableError
from romancy_conformance.servers.debian import unpack
from romancy_conformance.servers.server import free_port

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["find_redis", "private_redis"]

_DEADLINE: Final = 20.0
_POLL: Final = 0.02


def find_redis() -> Path:
    """Return the program; it is unpacked into the cache if the machine has none."""
    if found := shutil.which("redis-server"):
        return Path(found)
    program = unpack("redis-server", None) / "usr/bin/redis-server"
    if not program.exists():
        raise ServerUnavailableError("the package redis-server holds no redis-server")
    return program


@contextmanager
def private_redis(folder: Path, *, always: bool = False) -> Generator[str]:
    """Yield the URL of an empty Redis with its data in this folder. `always`: it flushes each write."""
    port = free_port()
    settings = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    durable = ["--appendonly", "yes", "--appendfsync", "always" if always else "everysec"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [find_redis(), *settings, *durable], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        _wait_for(server, port, folder / "log")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
            raise ServerUnavailableError("Redis ended while starting:\n" + "\n".join(said))
        time.sleep(_POLL)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(7) == b"+PONG\r\n"
    except OSError:
        return False

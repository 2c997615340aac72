"""A server in a process of its own, which tests ask, kill and start again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["GITHUB_SECRET", "MAIL_SECRET", "STRIPE_SECRET", "Server", "serving"]

# Of the webhooks in tests/http/served.py; a test process does not import that module, which declares workflows.
MAIL_SECRET: Final = "whsec_bWFpbCBzZWNyZXQgb2YgdGhlIHRlc3RzISE="
STRIPE_SECRET: Final = "whsec_of_stripe"
GITHUB_SECRET: Final = "hush"

_LISTENS: Final = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


class Server:
    """uvicorn with an application of the tests. It keeps its port when it is started again."""

    def __init__(self, url: str, environment: dict[str, str], application: str = "tests.http.served:http") -> None:
        self._application = application
        self.port = 0
        self.said: list[str] = []
        """The lines that it has logged."""
        self._environment = {**os.environ, "ROMANCY_URL": url, **environment}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory(self) -> int:
        """The most bytes that it has had in memory."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(peak) * 1024

    def start(self) -> None:
        """Start it, and return when it listens."""
        command = [sys.executable, "-m", "uvicorn", self._application, "--port", str(self.port)]
        self._process = subprocess.Popen(
            [*command, "--no-access-log"], cwd=ROOT, env=self._environment, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        listens = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr, listens))
        self._reader.start()
        assert listens.wait(180), self.said
        assert self.port, self.said

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._reader is not None:
            self._reader.join()

    def _read(self, errors: IO[str], listens: threading.Event) -> None:
        with errors:
            for line in errors:
                self.said.append(line)
                if found := _LISTENS.search(line):
                    self.port = int(found[1])
                    listens.set()
        listens.set()


@contextmanager
def serving(url: str, application: str = "tests.http.served:http", **environment: str) -> Generator[Server]:
    """A server for this database, which ends with the block."""
    server = Server(url, environment, application)
    try:
        server.start()
        yield server
    finally:
        server.kill()

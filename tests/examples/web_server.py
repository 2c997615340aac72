"""An example as a real server process, which may kill itself around a commit, and what a browser asks of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest

from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

__all__ = ["DYING", "Server", "serving"]

DYING = """
import os, signal, time
from pathlib import Path

def die(moment):
    if Path(os.environ["DIE_AT"]).read_text() == moment:
        Path(os.environ["DIE_AT"]).write_text("never again")
        os.killpg(0, signal.SIGKILL)

def meet():
    Path(f"met-{os.getpid()}").touch()
    while len(list(Path().glob("met-*"))) < int(os.environ["MEETING"]):
        time.sleep(0.01)
"""
"""The beginning of a program that dies: `die(moment)` does so at the moment that the test has chosen, once.
`meet()` waits until so many processes have come to it.
"""


class Server:
    """A server of this machine."""

    def __init__(self, process: subprocess.Popen[str], port: int, moment: Path) -> None:
        self._process = process
        self._port = port
        self._moment = moment

    def killed_by(self, method: str, path: str, *, at: str) -> None:
        """Ask for something, in the middle of which the server kills itself."""
        self._moment.write_text(at, "utf-8")
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            self.ask(method, path)

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """The status and the content of an answer."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request(method, path)
            with connection.getresponse() as response:
                content = response.read()
                kind = response.headers.get_content_type()
                return response.status, json.loads(content) if kind == "application/json" else content

    def ask_at_once(self, count: int, method: str, path: str) -> list[tuple[int, Any]]:
        """The answers to the same request of so many clients at once."""
        with ThreadPoolExecutor(count) as clients:
            return list(clients.map(self.ask, [method] * count, [path] * count))

    def runs(self) -> bool:
        return self._process.poll() is None

    def until_it_answers(self, path: str) -> None:
        """Wait for a process that listens: uvicorn says its port before it has begun several."""
        while True:
            assert self.runs()
            try:
                self.ask("GET", path)
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return

    def met(self) -> int:
        """How many processes have come to a meeting."""
        return len(list(self._moment.parent.glob("met-*")))

    def until(self, path: str, **expected: object) -> None:
        """Ask until this is the answer."""
        while (answer := self.ask("GET", path)[1]) != expected:
            assert answer["status"] != "failed"
            time.sleep(0.05)  # it is another process that brings it about


@contextmanager
def serving(folder: Path, program: str, *command: str, settings: Mapping[str, str]) -> Generator[Server]:
    """Serve a program, which is saved as the module `killer`, and kill it with all of its processes in the end."""
    (folder / "killer.py").write_text(DYING + program, "utf-8")
    moment = folder / "moment"
    moment.write_text("never", "utf-8")
    environment = {
        **os.environ,
        **settings,
        "DIE_AT": str(moment),
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
    }
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            yield Server(process, _port(process), moment)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has killed itself


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    pytest.fail("".join(said))

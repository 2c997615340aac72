"""Orders on the web, served by uvicorn: the process is killed before a commit, after it, and at the shipment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest

from tests.sessions.libraries import DRIVERS, kind_of, sqlalchemy_url
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.backends("sqlite", "postgres")]

KILLER = """
import os, signal
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.orm import Session
from examples.web_orders import api

def dies(moment):
    def die(session):
        if Path(os.environ["DIE_AT"]).read_text() == moment:
            Path(os.environ["DIE_AT"]).write_text("never again")
            os.kill(os.getpid(), signal.SIGKILL)
    return die

for moment in ("before_commit", "after_commit"):
    event.listen(Session, moment, dies(moment), insert=True)
"""


class Server:
    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request(method, path)
            with connection.getresponse() as response:
                return response.status, json.loads(response.read())

    def until(self, path: str, **expected: object) -> None:
        while (answer := self.ask("GET", path)[1]) != expected:
            assert answer["status"] != "failed"
            time.sleep(0.05)  # it is another process that brings it about


@contextmanager
def serving(folder: Path, url: str, *, die_at: str = "never") -> Generator[Server]:
    (folder / "killer.py").write_text(KILLER, "utf-8")
    (folder / "moment").write_text(die_at, "utf-8")
    settings = {
        **os.environ,
        "ROMANCY_URL": url,
        "DATABASE_URL": sqlalchemy_url(url, DRIVERS[kind_of(url)][0]).render_as_string(hide_password=False),
        "DIE_AT": str(folder / "moment"),
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
    }
    command = [sys.executable, "-m", "uvicorn", "killer:api", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, encoding="utf-8", env=settings) as process:
        try:
            yield Server(_port(process))
        finally:
            process.kill()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    pytest.fail("".join(said))


@pytest.fixture
def url(storage_url: str) -> str:
    return storage_url


def test_a_server_that_is_killed_between_two_requests(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, url) as server:
        assert server.ask("PUT", "/orders/a-1?item=lamp") == (202, {"id": "a-1"})
        server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
    with serving(tmp_path, url) as server:
        assert server.ask("POST", "/orders/a-1/payment")[0] == 202
        server.until("/orders/a-1", ordered=True, status="completed", shipped=True)
        assert server.ask("PUT", "/orders/b%3B2?item=lamp")[0] == 422


@pytest.mark.parametrize(("moment", "happened"), [("before_commit", False), ("after_commit", True)])
def test_a_server_that_is_killed_around_the_commit_of_a_start(
    tmp_path: Path, url: str, moment: str, *, happened: bool
) -> None:
    """After the commit, the process dies before it could wake anybody."""
    with serving(tmp_path, url, die_at=moment) as server, pytest.raises((RemoteDisconnected, ConnectionError)):
        server.ask("PUT", "/orders/a-1?item=lamp")
    with serving(tmp_path, url) as server:
        if not happened:
            nothing = {"ordered": False, "status": None, "shipped": False}
            assert server.ask("GET", "/orders/a-1") == (200, nothing)
            assert server.ask("PUT", "/orders/a-1?item=lamp")[0] == 202
        server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)


@pytest.mark.parametrize(("moment", "happened"), [("before_commit", False), ("after_commit", True)])
def test_a_server_that_is_killed_around_the_commit_of_a_signal(
    tmp_path: Path, url: str, moment: str, *, happened: bool
) -> None:
    with serving(tmp_path, url) as server:
        assert server.ask("PUT", "/orders/a-1?item=lamp")[0] == 202
        server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
    with serving(tmp_path, url, die_at=moment) as server, pytest.raises((RemoteDisconnected, ConnectionError)):
        server.ask("POST", "/orders/a-1/payment")
    with serving(tmp_path, url) as server:
        if not happened:
            server.until("/orders/a-1", ordered=True, status="waiting", shipped=False)
            assert server.ask("POST", "/orders/a-1/payment")[0] == 202
        server.until("/orders/a-1", ordered=True, status="completed", shipped=True)

"""A page in a real browser whose server is killed, stands still, or comes back: it says what it knows."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from playwright.sync_api import sync_playwright

from tests.cli.in_process import migrate
from tests.dashboard.chromium import ARGUMENTS, chromium

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.long

NOTHING: Final = re.compile(r"^nothing has come since \d\d:\d\d:\d\d UTC; trying again$")
WITHIN: Final = 5_000
SERVER: Final = """
import sys, uvicorn
from romancy.dashboard import asgi
uvicorn.run(asgi(sys.argv[1], auth="local"), port=int(sys.argv[2]), log_level="error")
"""


@contextmanager
def serving(url: str, port: int) -> Generator[subprocess.Popen[bytes]]:
    """Serve the dashboard in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", SERVER, url, str(port)]) as server:
        try:
            _await(port)
            yield server
        finally:
            server.kill()


def _await(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            continue
        return


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'live.db'}"
    migrate(made)
    return made


@pytest.fixture
def page(url: str) -> Generator[Page]:
    executable = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser.new_page()
        browser.close()


def test_a_page_says_since_when_nothing_has_come(page: Page, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]

    with serving(url, port) as server:
        page.goto(f"http://127.0.0.1:{port}/instances")
        page.locator("#live[data-on=true]").wait_for()
        server.send_signal(signal.SIGSTOP)
        page.locator("#live[data-on=false]").wait_for(timeout=WITHIN)
        assert NOTHING.match(page.locator("#live").inner_text())
        server.send_signal(signal.SIGCONT)
        page.locator("#live[data-on=true]").wait_for(timeout=2 * WITHIN)
        assert "live" == page.locator("#live").inner_text()
    page.locator("#live[data-on=false]").wait_for(timeout=WITHIN)
    assert NOTHING.match(page.locator("#live").inner_text())

    with serving(url, port):
        page.locator("#live[data-on=true]").wait_for(timeout=2 * WITHIN)

"""The chat in a real browser: its server is killed amid an answer and started again, and the page is loaded anew."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import sync_playwright

from tests.dashboard.chromium import ARGUMENTS, chromium
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.long

ANSWER: Final = "You said: hello there — tell me more. "
FINAL: Final = "main p:not(.you):not(.open)"
AWAY: Final = 90_000
"""Milliseconds in which the next worker takes over from one that was killed."""


@contextmanager
def serving(folder: Path, port: int) -> Generator[subprocess.Popen[str]]:
    """Serve the chat until it is killed."""
    environment = {**os.environ, "ROMANCY_URL": f"sqlite:///{folder}/chat.db", "THINK": "0.2", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "uvicorn", "examples.chat:api", "--port", str(port), "--log-level", "error"]
    with (
        (folder / "told").open("a", encoding="utf-8") as told,
        subprocess.Popen(command, cwd=ROOT, stdout=told, encoding="utf-8", env=environment) as server,
    ):
        try:
            while server.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                except ConnectionRefusedError:
                    continue
                break
            yield server
        finally:
            server.kill()


@pytest.fixture
def page() -> Generator[Page]:
    executable = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser.new_page(viewport={"width": 390, "height": 600})
        browser.close()


def asked(folder: Path) -> list[str]:
    """What the model was asked."""
    return (folder / "told").read_text("utf-8").splitlines()


def test_an_answer_goes_on_after_a_crash_and_a_reload_shows_all_of_it(page: Page, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    url = f"http://127.0.0.1:{port}/chats/ann"
    with serving(tmp_path, port) as server:
        page.goto(url)
        page.get_by_label("Your message").fill("hello there")
        page.get_by_role("button").click()
        page.locator("p.open", has_text="hello").wait_for()
        server.kill()
    with serving(tmp_path, port):
        page.locator(FINAL).wait_for(timeout=AWAY)
        assert page.locator("main p").all_text_contents() == ["> hello there\n", ANSWER]
        assert asked(tmp_path) == ["the model is asked: hello there"] * 2
        page.reload()
        page.locator(FINAL).wait_for()
        assert page.locator("main p").all_text_contents() == ["> hello there\n", ANSWER]

        for _ in range(2):  # a message that is sent twice
            body = json.dumps({"id": "again", "text": "and?"}).encode()
            with urlopen(Request(url, body, {"content-type": "application/json"})) as answer:
                assert answer.status == 202
        page.locator(FINAL).nth(1).wait_for()
        page.get_by_label("Your message").fill("bye")
        page.get_by_role("button").click()
        page.locator(FINAL).nth(2).wait_for()
        said = page.locator(".you").all_text_contents()
        assert said == ["> hello there\n", "> and?\n", "> bye\n"]
        page.screenshot(path=tmp_path / "chat.png")

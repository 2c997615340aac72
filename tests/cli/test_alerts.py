"""`romancy alerts` as a process, which posts to a real server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy.alerting.telling import ByCommand
from romancy_conformance.behaviour.waiting import until
from tests.cli.in_process import migrate, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.cli.in_process import Answer


@pytest.fixture
def romancy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    migrate("sqlite:///shop.db")
    return runner(capsys)


class Server:
    """What came, and what is answered."""

    def __init__(self) -> None:
        self.came: list[Any] = []
        self.answers = [503, 302, 200]
        self.all_of_it = threading.Event()

    @contextmanager
    def serving(self) -> Generator[str]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.came.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                self.send_response(answer)
                self.end_headers()
                if answer == 200:
                    server.all_of_it.set()

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - as the base names it

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
            thread = threading.Thread(target=listening.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.server_port}/hooks/secret"
            finally:
                listening.shutdown()
                thread.join()


@contextmanager
def alerts(*words: str) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "romancy", "alerts", "--url", "sqlite:///shop.db", "--every", "1s", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


@pytest.mark.long
def test_a_webhook_is_told_once(romancy: Callable[..., Answer]) -> None:
    server = Server()
    with server.serving() as url, alerts("--webhook", url, "--link", "https://shop.example.com/romancy") as process:
        assert server.all_of_it.wait(60)
        said = ended(process)
        with alerts("--webhook", url) as again:
            assert again.stderr is not None
            next(line for line in again.stderr if "alerts looks" in line)
            time.sleep(2)  # nothing can be awaited: it has nothing to tell
            ended(again)

    first, *others = server.came
    assert first["text"] == "Romancy: no worker is alive, so nothing goes on https://shop.example.com/romancy/"
    assert [(each["key"], each["state"]) for each in first["alerts"]] == [("workers", "begins")]
    assert others == [first] * 2, "what was not accepted is sent again"
    assert "secret" not in said


@pytest.mark.long
def test_a_command_gets_the_alerts(romancy: Callable[..., Answer], tmp_path: Path) -> None:
    with alerts("--run", "cat > told.part && mv told.part told") as process:
        while not (tmp_path / "told").exists():
            assert process.poll() is None
            time.sleep(0.05)  # it is another process that makes the file
        ended(process)
    (told,) = json.loads((tmp_path / "told").read_text("utf-8"))
    assert (told["key"], told["link"]) == ("workers", None)


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.anyio
async def test_a_command_that_is_given_up_ends_with_what_it_has_begun(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    command = f"sleep 600 & echo $! > {begun}.part; mv {begun}.part {begun}; wait"
    telling = asyncio.create_task(ByCommand(command).tell([]))
    await until(begun.exists)
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    await until(lambda: has_ended(begun.read_text("utf-8").strip()))


def has_ended(pid: str) -> bool:
    """Whether a process is gone, or only waits for somebody to ask how it ended."""
    try:
        return Path("/proc", pid, "stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_holds_now_is_printed(romancy: Callable[..., Answer]) -> None:
    answer = romancy("alerts", "--url", "sqlite:///shop.db", "--now")
    assert (1, "no worker is alive, so nothing goes on\n") == (answer.code, answer.out)
    as_json = romancy("alerts", "--url", "sqlite:///shop.db", "--now", "--json")
    assert json.loads(as_json.out) == {"key": "workers", "text": "no worker is alive, so nothing goes on"}


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("", "whom to tell? Give --webhook URL or --run COMMAND"),
        ("--webhook http://a --run b", "whom to tell? Give --webhook URL or --run COMMAND"),
        ("--webhook ftp://a", "begins with http:// or https://"),
        ("--webhook http://", "begins with http:// or https://"),
        ("--run x --every 0s", "--every: look once a second at most"),
    ],
)
def test_a_mistake_is_told(words: str, advice: str, romancy: Callable[..., Answer]) -> None:
    answer = romancy("alerts", "--url", "sqlite:///shop.db", *words.split())
    assert (2, "") == (answer.code, answer.out)
    assert advice in " ".join(answer.err.split())

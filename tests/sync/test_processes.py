"""What processes do to an app without `await`: Ctrl-C, the end of the interpreter, forks."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

HEAD = """
import os, sys, time
from romancy import EventType, UsageError, WorkflowContext, activity, workflow
from romancy.sync import SyncRomancy

PAID = EventType("paid", int)

@activity
def shout(name: str) -> str:
    return name.upper()

@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return await shout(name)

@workflow
async def waits(ctx: WorkflowContext) -> int:
    return (await ctx.wait_event(PAID)).data

app = SyncRomancy("sqlite:///sync.db", workflows=[greet, waits])
"""

WEB = """
if "before" in os.environ["OPENED"]:
    app.open()

def web(environ, start_response):
    try:
        if "after" in os.environ["OPENED"] and not app.is_open:
            app.open()
        body = app.run(greet, "ann").encode()
        start_response("200 OK", [])
    except UsageError as error:
        body = str(error).encode()
        start_response("500 Refused", [])
    return [body]
"""

FORKS = "ignore:This process (pid=:DeprecationWarning"
"""From 3.12 on, Python warns of each fork of a process with threads, which is what these tests are about."""


@contextmanager
def program(folder: Path, text: str, *command: str) -> Generator[subprocess.Popen[str]]:
    (folder / "program.py").write_text(HEAD + text, "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-W", FORKS, *(command or ("program.py",))],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def test_the_interpreter_may_end_while_the_app_is_open(tmp_path: Path) -> None:
    with program(tmp_path, "app.open()\nprint(app.run(greet, 'ann'))\napp.start(waits)\n") as process:
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("ANN\n", "", 0)


@pytest.mark.long
def test_a_thread_that_waits_when_the_interpreter_ends_is_told_so(tmp_path: Path) -> None:
    text = """
import threading
app.open()
handle = app.start(waits)

def wait():
    asked.set()
    try:
        handle.result()
    except UsageError as error:
        print(error)

asked = threading.Event()
threading.Thread(target=wait).start()
asked.wait()
"""
    with program(tmp_path, text) as process:
        out, err = process.communicate(timeout=60)
    assert "this app is not open" in out
    assert (err, process.returncode) == ("", 0)


def test_ctrl_c_while_a_call_waits(tmp_path: Path) -> None:
    text = """
with app:
    handle = app.start(waits)
    try:
        print("waits", flush=True)
        handle.result()
    except KeyboardInterrupt:
        handle.signal(PAID, 7)
        print("interrupted", handle.result(60), flush=True)
"""
    with program(tmp_path, text) as process:
        assert line_of(process.stdout) == "waits\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("interrupted 7\n", "", 0)


def test_ctrl_c_that_another_thread_of_the_process_receives_ends_the_wait(tmp_path: Path) -> None:
    """Python then does not wake the main thread. The same happens if the signal comes just before the wait begins."""
    text = """
import signal, threading
with app:
    handle = app.start(waits)
    try:
        receives = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
        receives.start()
        handle.result()
    except KeyboardInterrupt:
        handle.signal(PAID, 7)
        print("interrupted", handle.result(60), flush=True)
"""
    with program(tmp_path, text) as process:
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("interrupted 7\n", "", 0)


CHILD = """
app = SyncRomancy(sys.argv[1], workflows=[greet, waits])
app.open()
app.run(greet, "ann")
child = os.fork()
if child == 0:
    assert not app.is_open
    try:
        app.run(greet, "bob")
    except UsageError as error:
        print(error, flush=True)
    try:
        app.open()
        print(app.run(greet, "bob"), flush=True)
        app.close()
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], app.run(greet, "cid"), flush=True)
app.close()
"""


@pytest.mark.dealt("sqlite", "postgres", "mysql")
@pytest.mark.backends("sqlite", *Kind)
def test_a_child_process_is_refused_by_name_and_may_open_the_app_again(tmp_path: Path, storage_url: str) -> None:
    """A SQLite file that was open at a fork cannot be used in the child: the file's locks belong to processes."""
    with program(tmp_path, CHILD, "program.py", storage_url) as process:
        out, err = process.communicate(timeout=60)
    first, second, *rest = out.splitlines()
    assert "opened before this process was forked" in first
    assert ("spawn" in second) if storage_url.startswith("sqlite") else second == "BOB"
    assert (rest, err, process.returncode) == (["0 CID"], "", 0)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except urllib.error.URLError:
            continue  # it does not listen yet


@pytest.mark.long
@pytest.mark.parametrize(
    ("opened", "status", "answer"),
    [("before the fork", 500, "opened before this process was forked"), ("after the fork", 200, "ANN")],
)
def test_gunicorn_with_preload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: str, status: int, answer: str
) -> None:
    monkeypatch.setenv("OPENED", opened)
    port = free_port()
    command = ("-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}", "program:web")
    with program(tmp_path, WEB, *command) as process:
        told, body = get(port, "/")
        assert (told, answer in body) == (status, True)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0

"""How to stop a worker of the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.cli.in_process import migrate

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

BUSY: Final = """
import asyncio

from romancy import Romancy, WorkflowContext, activity, workflow

@activity
async def stay() -> None:
    print("at work", flush=True)
    await asyncio.Event().wait()

@workflow
async def staying(ctx: WorkflowContext) -> None:
    await stay()

app = Romancy("sqlite:///busy.db", workflows=[staying])
"""
IDLE: Final = 'from romancy import Romancy\n\napp = Romancy("sqlite:///idle.db")\n'
ROMANCY: Final = (sys.executable, "-m", "romancy")


@contextmanager
def started(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """A worker in the folder, ended in any case after the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*ROMANCY, "run", *arguments], cwd=folder, stdout=pipe, stderr=pipe, text=True) as worker:
        try:
            yield worker
        finally:
            worker.kill()


@contextmanager
def at_work(folder: Path, program: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """A worker that has begun the only activity of the program."""
    (folder / "busy.py").write_text(program)
    migrate(f"sqlite:///{folder}/busy.db")
    subprocess.run([*ROMANCY, "start", "busy", "staying"], cwd=folder, check=True)
    with started(folder, "busy", *arguments) as worker:
        assert worker.stdout is not None
        assert "at work\n" == worker.stdout.readline()
        yield worker


def said(worker: subprocess.Popen[str], what: str) -> str:
    """Wait for the line of its output that contains this, and return it."""
    assert worker.stderr is not None
    return next(line for line in worker.stderr if what in line)


def test_a_second_ctrl_c_ends_a_worker_that_drains_at_once(tmp_path: Path) -> None:
    with at_work(tmp_path, BUSY, "--drain", "1h") as worker:
        worker.send_signal(signal.SIGINT)
        told = said(worker, "a second Ctrl-C")
        worker.send_signal(signal.SIGINT)
        code = worker.wait(60)

    assert "3600 s to end" in told
    assert -signal.SIGINT == code


def test_a_worker_that_knows_no_workflow_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(IDLE)

    with started(tmp_path, "idle") as worker:
        advice = said(worker, "knows no workflow")
        worker.send_signal(signal.SIGTERM)
        said(worker, "worker has stopped")
        code = worker.wait(60)

    assert "@workflow" in advice
    assert 0 == code


def test_an_app_without_a_worker_gets_one(tmp_path: Path) -> None:
    """The web process opens the app with `worker=False`, and `romancy run` names the same app."""
    without = BUSY.replace("workflows=[staying]", "workflows=[staying], worker=False")

    with at_work(tmp_path, without, "--drain", "0s") as worker:
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(60)

    assert 0 == code

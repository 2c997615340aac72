"""Workers of the command line, as processes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.cli.in_process import migrate

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["BUSY", "ROMANCY", "at_work", "said", "started"]

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

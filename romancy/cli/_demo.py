"""`romancy demo`: a workflow on SQLite whose process is killed half way, and the next process that finishes it.

Nothing is simulated: the processes are real, the kill is SIGKILL, the database is a file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from romancy.app import Romancy
from romancy.cli._child import stop_with_parent

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["demo"]

_INSTANCE: Final = "trip-42"
_FIRST = """\
A trip has three bookings: a flight, a hotel and a car.
If one of them fails for good, the others must be undone.

1. A worker process starts the workflow. The car rental does not answer:"""
_SECOND = """
2. Another worker process opens the same file. Flight and hotel are in the
   log, so they are not booked again. The car is tried again. The rental has
   no cars left, so the bookings are undone, last first:"""
_THIRD = """
3. What happened, from the log in the database:"""


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), metavar="FILE", help="Keep the database in this file.")
@click.option("--work", hidden=True, type=click.Choice(["silent", "answered"]), help="Be one of the workers.")
def demo(keep: Path | None, work: str | None) -> None:
    """Kill a process half way, and let the next one continue.

    It needs only this command, and some seconds. The database is an SQLite file.
    """
    if work is not None:
        _be_a_worker(f"sqlite:///{keep}", answered=work == "answered")
        return
    if keep is not None and keep.exists():
        raise click.UsageError(f"--keep: {keep} exists already; name a new file")
    with tempfile.TemporaryDirectory() if keep is None else nullcontext() as folder:
        database = Path(folder or ".", keep or "demo.db")
        _play(database)
    if keep is not None:
        click.echo(f"\nNow look at it yourself:\n   romancy show {_INSTANCE} --url sqlite:///{keep}")


def _be_a_worker(url: str, *, answered: bool) -> None:
    from romancy.cli._trip import book  # noqa: PLC0415 - an app of the user's would know its workflow, once imported

    stop_with_parent()
    logging.disable(logging.ERROR)  # the failed booking is part of the demo: log no error
    asyncio.run(book(url, _INSTANCE, answered=answered))


def _play(database: Path) -> None:
    click.echo(_FIRST)
    with _worker(database, "silent") as first:
        _pass_on(first, "car")
        first.kill()
        click.echo(f"   kill -9 {first.pid}: the process is gone, in the middle of the third booking")
    click.echo(_SECOND)
    with _worker(database, "answered") as second:
        _pass_on(second)
        if second.wait() != 0:
            raise click.ClickException(f"the second worker failed with exit code {second.returncode}")
    click.echo(_THIRD)
    asyncio.run(_tell_log(database))


@contextmanager
def _worker(database: Path, work: str) -> Generator[subprocess.Popen[str]]:
    """A worker process with its output on a pipe. It ends with the block, or with this process."""
    command = [sys.executable, "-m", "romancy", "demo", "--keep", str(database), "--work", work]
    pipe, utf8 = subprocess.PIPE, os.environ | {"PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(  # noqa: S603 - itself
        command, stdin=pipe, stdout=pipe, encoding="utf-8", env=utf8
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def _pass_on(worker: subprocess.Popen[str], word: str | None = None) -> None:
    """Print the worker's output, up to the line that holds `word`, or to its end."""
    if worker.stdout is not None:
        for line in worker.stdout:
            click.echo(line, nl=False)
            if word is not None and word in line:
                return
    if word is not None:
        raise click.ClickException(f"the first worker ended by itself with exit code {worker.wait()}")


async def _tell_log(database: Path) -> None:
    """Print the log that both processes wrote."""
    async with Romancy(f"sqlite:///{database}", worker=False) as app:
        for number, event in enumerate(await app.history(_INSTANCE), 1):
            detail = getattr(event, "id", "") or getattr(event, "workflow", "")
            click.echo(f"   {number:>2}  {type(event).__name__:<22} {detail}".rstrip())

"""`run --reload` and `dev`: the worker is a process, restarted whenever a Python file of the project changes.

For development. The files are those below the current folder, except those of virtual environments and hidden folders.
Their times are compared twice a second. After a change, or when this process ends in any way, the worker stops.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.cli._child import start_child
from romancy.cli._printing import say
from romancy.engine import STOPPING

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Mapping, Sequence

__all__ = ["run_and_reload", "times_of"]

_LOOK_EVERY: Final = 0.5
_PATIENCE: Final = 10.0
_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})

Times = dict[str, int]


def run_and_reload(
    arguments: Sequence[str],
    drain: float,
    *,
    listener: socket.socket | None = None,
    secrets: Mapping[str, str] | None = None,
) -> None:
    """Keep `romancy` with these arguments running on the newest Python files, until SIGTERM or Ctrl-C.

    The worker inherits the socket, and gets the secrets in its environment.
    """
    child = _Child([sys.executable, "-m", "romancy", *arguments], drain, listener, {**os.environ, **(secrets or {})})
    with _told_to_stop() as told:
        while not told.is_set():
            times = times_of(Path.cwd())
            with _worker(child) as worker:
                changed = _until_change(worker, times, told)
            if changed:
                shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")  # noqa: PLR2004
                say(f"changed: {shown}; starting the worker again")
    say("reloader has stopped")


@contextmanager
def _told_to_stop() -> Generator[threading.Event]:
    """An event that the first signal sets; a second one has its usual effect."""
    told = threading.Event()
    before = {number: signal.getsignal(number) for number in STOPPING}

    def hear(*_: object) -> None:
        told.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, hear)
    try:
        yield told
    finally:
        restore()


class _Child(NamedTuple):
    """The command, socket and secrets of a worker process."""

    command: Sequence[str]
    drain: float
    listener: socket.socket | None
    environment: Mapping[str, str]


@contextmanager
def _worker(child: _Child) -> Generator[subprocess.Popen[bytes]]:
    """A worker that has stopped when the block has ended."""
    worker = start_child(child.command, child.environment, child.listener)
    patience = child.drain + _PATIENCE
    try:
        yield worker
        if worker.stdin is not None:
            worker.stdin.close()
        worker.wait(patience)
    except subprocess.TimeoutExpired:
        say(f"the worker did not stop within {patience:g} s and is killed")
    finally:
        worker.kill()
        worker.wait()


def _until_change(worker: subprocess.Popen[bytes], times: Times, told: threading.Event) -> list[str]:
    """The files that changed, once they have stopped changing; empty after a stop signal."""
    ended = False
    while not told.wait(_LOOK_EVERY):
        now = times_of(Path.cwd())
        if now != times:
            later = now
            while not told.wait(_LOOK_EVERY / 2) and (later := times_of(Path.cwd())) != now:
                now = later
            return sorted(name for name in times.keys() | later.keys() if times.get(name) != later.get(name))
        if not ended and worker.poll() is not None:
            ended = True
            say(f"the worker ended with exit code {worker.returncode}; it is started again when a file changes")
    return []


def times_of(folder: Path) -> Times:
    """When each Python file below the folder was last changed."""
    times: Times = {}
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_OURS]
        for name in files:
            if name.endswith(".py"):
                path = Path(place, name)
                try:
                    times[str(path.relative_to(folder))] = path.stat().st_mtime_ns
                except OSError:
                    continue  # it was removed just now, or is a broken link
    return times

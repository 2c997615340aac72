"""Processes seen from outside: which are alive, which work in a folder, and how to end them.

A server's processes are recognised by their working directory, because a database leaves the session and the group it
was started in, and a pid file is always written too late. Run as a script, this file is the watchdog of a run: it
sleeps until the owner is gone and clears the owner's folder, so a killed test run leaves nothing behind. This file may
import only the standard library, and nothing of this package: the watchdog starts without it.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_END_DEADLINE = 120.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process; its start time distinguishes it from a later one with the same pid."""

    pid: int
    started: int

    @classmethod
    def current(cls) -> Process:
        process = cls.find(os.getpid())
        if process is None:
            raise RuntimeError("this machine has no /proc: private database servers need Linux")
        return process

    @classmethod
    def find(cls, pid: int) -> Process | None:
        """Return the process with this pid, or None if there is none or it is a zombie."""
        fields = _stat(pid)
        if fields is None or fields[0] in {"Z", "X"}:
            return None
        return cls(pid, int(fields[19]))

    @classmethod
    def parse(cls, text: str) -> Process:
        pid, _, started = text.partition("-")
        return cls(int(pid), int(started))

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}"

    def is_alive(self) -> bool:
        return Process.find(self.pid) == self

    def wait_gone(self, timeout: float | None = None) -> bool:
        """Block until the process has ended; return False if it has not within `timeout` seconds."""
        try:
            watched = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.is_alive():
                return True
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            return bool(poll.poll(None if timeout is None else timeout * 1000))
        finally:
            os.close(watched)

    def send(self, number: signal.Signals) -> None:
        """Signal the process; one that has ended meanwhile is no error."""
        try:
            if self.is_alive():
                os.kill(self.pid, number)
        except ProcessLookupError:
            return


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on (the name before it may contain anything)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(") ")[2].split()


def _is_daemon(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[4] == "0"


def working_in(folder: Path) -> list[Process]:
    """Yield each process without a terminal whose working directory is in `folder`, by pid, except this one."""
    inside = f"{folder.resolve()}/"
    found: list[Process] = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            where = (entry / "cwd").readlink()
        except OSError:
            continue
        process = Process.find(int(entry.name))
        if f"{where}/".startswith(inside) and process is not None and _is_daemon(process.pid):
            found.append(process)
    return sorted(found, key=lambda process: process.pid)


def signal_all(folder: Path, number: signal.Signals) -> None:
    """Signal every process that works in `folder`, also those forked meanwhile."""
    reached: set[Process] = set()
    while new := [process for process in working_in(folder) if process not in reached]:
        for process in new:
            process.send(number)
        reached.update(new)


def kill_all(folder: Path) -> None:
    """End every process that works in `folder` as a power cut would, and return when none is left."""
    deadline = time.monotonic() + _END_DEADLINE
    while left := working_in(folder):
        for process in left:
            process.send(signal.SIGKILL)
        for process in left:
            if not process.wait_gone(deadline - time.monotonic()):
                raise TimeoutError(f"process {process.pid} survived SIGKILL for {_END_DEADLINE:.0f} s")


def _release_shared_memory(folder: Path) -> None:
    """Release the System V segments that killed PostgreSQL servers in `folder` still hold."""
    libc = ctypes.CDLL(None)
    for note in folder.rglob("postmaster.pid"):
        lines = note.read_text(encoding="utf-8", errors="replace").splitlines()
        key_and_id = lines[6].split() if len(lines) > 6 else []
        if len(key_and_id) == 2:
            remove = 0  # IPC_RMID
            libc.shmctl(int(key_and_id[1]), remove, None)


def clear_folder(folder: Path) -> None:
    """Kill the processes that work in `folder`, release their shared memory, and delete it."""
    kill_all(folder)
    _release_shared_memory(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _watch(owner: Process, folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner.wait_gone()
    if folder.exists():
        clear_folder(folder)


if __name__ == "__main__":
    _watch(Process.parse(sys.argv[1]), Path(sys.argv[2]))

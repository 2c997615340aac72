"""Stops, freezes and kills the processes of tests, on every system; and the marks of tests that need a POSIX system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy.testing._dying import DEAD, die

if TYPE_CHECKING:
    import asyncio.subprocess

    Process = subprocess.Popen[bytes] | subprocess.Popen[str] | asyncio.subprocess.Process

__all__ = [
    "CRASHED",
    "DEAD",
    "KILLED",
    "OPTIONS",
    "STOPPED_EARLY",
    "crash",
    "die",
    "forks",
    "freeze",
    "freezes",
    "replaces_open_files",
    "resources",
    "signals",
    "stop",
    "thaw",
]

_WINDOWS: Final = sys.platform == "win32"

freezes = pytest.mark.skipif(_WINDOWS, reason="Windows: no signal freezes a process")
forks = pytest.mark.skipif(_WINDOWS, reason="Windows: no process forks")
replaces_open_files = pytest.mark.skipif(_WINDOWS, reason="Windows: it refuses to replace, move or delete an open file")
signals = pytest.mark.skipif(_WINDOWS, reason="Windows: a process gets no signals but those of its console")
resources = pytest.mark.skipif(_WINDOWS, reason="Windows: no limits of resources, and no /proc")

# OPTIONS are those of `Popen` for a process that `stop` can reach. The others are exit codes: CRASHED after `crash()`,
# DEAD after `die()`, KILLED after the `kill()` of another process, STOPPED_EARLY if `stop` comes before it listens.
if sys.platform == "win32":
    OPTIONS: Final[dict[str, Any]] = {
        "creationflags": subprocess.CREATE_NO_WINDOW
    }  # a console of its own, for its Ctrl-C
    CRASHED: Final = 139
    KILLED: Final = 1
    STOPPED_EARLY: Final = 0xC000_013A  # STATUS_CONTROL_C_EXIT
    _PRESS: Final = """
import ctypes, sys
kernel = ctypes.WinDLL("kernel32", use_last_error=True)
kernel.FreeConsole()
ready = kernel.AttachConsole(int(sys.argv[1])) and kernel.SetConsoleCtrlHandler(None, True)
if not (ready and kernel.GenerateConsoleCtrlEvent(0, 0)):
    sys.exit(str(ctypes.WinError(ctypes.get_last_error())))
"""

    def stop(process: Process) -> None:
        """Tell it to stop: press Ctrl-C in its console, which a process has to enter for that."""
        subprocess.run([sys.executable, "-c", _PRESS, str(process.pid)], check=True)

    def crash() -> None:
        """End this process as an access to wrong memory does, without the system's dialog about it."""
        os.kill(os.getpid(), CRASHED)

    def freeze(process: Process) -> None:
        raise NotImplementedError

    def thaw(process: Process) -> None:
        raise NotImplementedError

else:
    OPTIONS: Final[dict[str, Any]] = {}
    CRASHED: Final = -signal.SIGSEGV
    KILLED: Final = -signal.SIGKILL
    STOPPED_EARLY: Final = -signal.SIGTERM

    def stop(process: Process) -> None:
        """Tell it to stop."""
        process.send_signal(signal.SIGTERM)

    def crash() -> None:
        """End this process as an access to wrong memory does, without a core file."""
        import resource  # noqa: PLC0415 - Windows has no such module

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)

    def freeze(process: Process) -> None:
        """Let it stand still."""
        process.send_signal(signal.SIGSTOP)

    def thaw(process: Process) -> None:
        """Let it go on."""
        process.send_signal(signal.SIGCONT)

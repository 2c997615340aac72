"""Interpreters that play cases: fresh ones, whose hashes are the same everywhere."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from romancy.errors import UsageError
from romancy.testing.simulating.cases import Outcome
from romancy.testing.simulating.faults import Faults
from romancy.testing.simulating.places import Place

if TYPE_CHECKING:
    from romancy.testing.simulating.cases import Case

__all__ = ["Nursery", "Order", "Ready"]

_LONGEST: Final = 120.0
"""Seconds of real time after which a case is taken for one that never ends."""
_LONGEST_IMPORT: Final = 120.0
"""Seconds that the modules of a test may take to be imported."""
_TAIL: Final = 4000
_FORKS: Final = hasattr(os, "fork")
INSIDE: Final = "ROMANCY_SIMULATES"
"""The environment variable that such an interpreter has."""


class Order(Struct):
    """What all cases of one call of `simulate` have in common."""

    path: list[str]
    """Where modules are found."""
    workflows: list[Place]
    client: Place
    check: Place | None
    prepare: Place | None
    faults: Faults
    patience: float


class Ready(Struct):
    """The first answer: everything was imported, or what went wrong."""

    error: str = ""


class Nursery:
    """One such interpreter. One thread at a time may use it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    def close(self) -> None:
        """End it, and what it plays."""
        self._end()
        self._errors.close()

    def play(self, case: Case) -> Outcome:
        """Play this case. Raises UsageError if the interpreter cannot import the modules of the test."""
        process = self._process or self._begun()
        said = self._asked(process, case, _LONGEST)
        if not said or not _FORKS:
            self._end()
        if not said:
            told = self._told()
            text = f"its process ended, or took longer than {_LONGEST:g} s of real time. It wrote:\n{told}"
            return Outcome(findings=[("crash", text)])
        return msgspec.json.decode(said, type=Outcome)

    def _begun(self) -> subprocess.Popen[bytes]:
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "romancy.testing.simulating"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # so that a case that is being played ends with it
            env={**os.environ, "PYTHONHASHSEED": "0", INSIDE: "1"},
        )
        said = self._asked(process, self._order, _LONGEST_IMPORT)
        ready = msgspec.json.decode(said, type=Ready) if said else Ready(self._told())
        if ready.error:
            modules = ", ".join(sorted({place.file for place in (*self._order.workflows, self._order.client)}))
            raise UsageError(f"simulate: another interpreter cannot import the test ({modules}): {ready.error}")
        return process

    def _asked(self, process: subprocess.Popen[bytes], what: Any, most: float) -> bytes:
        """The line that answers this; none if the process has ended."""
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        timer = threading.Timer(most, _kill, [process])
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(msgspec.json.encode(what) + b"\n")
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            timer.cancel()

    def _told(self) -> str:
        """The end of what it wrote to its standard error."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - _TAIL))
        return self._errors.read().decode(errors="replace").strip() or "nothing"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        process.communicate()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

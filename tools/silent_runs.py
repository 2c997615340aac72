"""Ends the test processes of a run that reports nothing for longer than a test may take.

`tools.hung_tests` ends a process from within, when one of its tests does not end. It cannot see a process that is
frozen, or that waits between two tests. This pytest plugin watches from the process that distributes the tests. When no
process has reported anything for `silence` seconds, it aborts all of them, so that each prints the stacks of its
threads. xdist then reports the tests they were at as failed, and starts other processes. If nothing is reported after
that either, the distributing process prints its own stacks and ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, Final

import pytest

SILENCE: Final = "silence"
_TO_RECOVER: Final = 120.0
"""Seconds in which xdist starts other processes, and one of them begins a test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(SILENCE, "seconds for which a distributed run may report nothing", default=1200)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch before the test processes are started, if this process distributes."""
    config = session.config
    if config.pluginmanager.has_plugin("dsession"):
        config.pluginmanager.register(_Listener(float(config.getini(SILENCE))), "romancy silence")


class _Listener:
    """Hears each report of the test processes."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._processes: dict[str, int] = {}
        self._heard = threading.Event()
        stderr = sys.__stderr__
        self._stderr = os.dup(stderr.fileno() if stderr is not None else 2)  # pytest takes the other one
        threading.Thread(target=self._listen, name="romancy silence", daemon=True).start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        self._processes[gateway.id] = gateway._rinfo().pid  # noqa: SLF001 - what xdist itself asks for

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._processes.pop(node.gateway.id, None)

    def pytest_runtest_logstart(self) -> None:
        self._heard.set()

    def pytest_runtest_logreport(self) -> None:
        self._heard.set()

    def _listen(self) -> None:
        while True:
            while self._hears_something(self._silence):
                pass
            self._say(f"no test began or ended for {self._silence:.0f} s; the test processes end here")
            for process in list(self._processes.values()):
                _abort(process)
            if not self._hears_something(_TO_RECOVER):
                break
        self._say("nor since then; the run ends here")
        faulthandler.dump_traceback(self._stderr)
        os._exit(1)

    def _hears_something(self, seconds: float) -> bool:
        heard = self._heard.wait(seconds)
        self._heard.clear()
        return heard

    def _say(self, words: str) -> None:
        os.write(self._stderr, f"\n{words}:\n".encode())


def _abort(process: int) -> None:
    """Let the process print its stacks and end. One that is frozen has to run for that."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGABRT)
        if sys.platform != "win32":
            os.kill(process, signal.SIGCONT)

"""The life of a run: nothing is left when its owner ends, in whatever way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind
from romancy_conformance.servers.processes import Process, working_in
from romancy_conformance.servers.run import RUN_VARIABLE
from romancy_conformance.stores import chosen_backends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = [kind for kind in Kind if kind in chosen_backends() and kind.url_variable not in os.environ]
pytestmark = pytest.mark.skipif(not KINDS, reason="this run is for no private server")

_OWNER = """
import os, signal, sys
from romancy_conformance.servers import private_server, shared_server
from romancy_conformance.servers.run import current_run
kinds = sys.argv[1:]
shared_server(kinds[0])
private_server(kinds[-1]).start()
run = current_run()
print(run.folder, run._watchdog.pid, flush=True)
try:
    signal.pause()
except KeyboardInterrupt:
    pass
"""


class Owner:
    """A process that owns a run with two servers, seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        folder, watchdog = process.stdout.readline().split()
        self.folder = Path(folder)
        found = Process.find(int(watchdog))
        assert found is not None
        self.watchdog = found

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(90)


@pytest.fixture
def owner() -> Iterator[Callable[[], Owner]]:
    """Start a process that owns a run of its own."""
    started: list[Owner] = []

    def start() -> Owner:
        alone = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
        command = [sys.executable, "-c", _OWNER, KINDS[0], KINDS[-1]]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=alone)
        started.append(Owner(process))
        return started[-1]

    yield start
    for one in started:
        assert one.process.stdout is not None
        one.process.stdout.close()
        one.process.kill()
        one.process.wait()
        one.watchdog.wait_gone(90)


def _main_processes(folder: Path) -> list[Process]:
    """Return the first process of each server; those that it starts may come and go."""
    found = working_in(folder)
    return [process for process in found if _parent(process) not in {other.pid for other in found}]


def _parent(process: Process) -> int:
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return process.pid  # it has ended by now
    return int(stat.rpartition(") ")[2].split()[1])


def _wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 90
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_ends(owner: Callable[[], Owner], number: signal.Signals) -> None:
    one = owner()
    servers = working_in(one.folder)
    assert len(servers) >= 2

    one.end(number)

    assert one.watchdog.wait_gone(90)
    assert not one.folder.exists()
    assert [server for server in servers if server.is_alive()] == []


def test_the_next_run_clears_what_an_owner_killed_with_its_watchdog_left(owner: Callable[[], Owner]) -> None:
    one = owner()
    one.watchdog.send(signal.SIGKILL)
    servers = working_in(one.folder)
    one.end(signal.SIGKILL)
    another = owner()

    _wait_until_gone(one.folder)

    assert not one.folder.exists()
    assert [server for server in servers if server.is_alive()] == []
    assert another.folder.exists()
    assert len(working_in(another.folder)) >= 2


def test_a_child_that_is_killed_takes_no_server_with_it(owner: Callable[[], Owner]) -> None:
    one = owner()
    code = (
        "import os, signal, sys; from romancy_conformance.servers import shared_server\n"
        "shared_server(sys.argv[1]).access.fetch('SELECT 1'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    before = _main_processes(one.folder)

    child = subprocess.run(
        [sys.executable, "-c", code, KINDS[0]],
        env={**os.environ, RUN_VARIABLE: str(one.folder)},
        check=False,
    )

    assert child.returncode == -signal.SIGKILL
    assert one.folder.exists()
    assert len(before) == 2
    assert [server for server in before if not server.is_alive()] == []


def test_a_variable_of_a_run_that_is_over_is_no_run(owner: Callable[[], Owner]) -> None:
    one = owner()
    one.end(signal.SIGINT)
    code = (
        "import sys; from romancy_conformance.servers import shared_server\n"
        "print(shared_server(sys.argv[1]).access.fetch('SELECT 41'))"
    )

    said = subprocess.run(
        [sys.executable, "-c", code, KINDS[0]],
        env={**os.environ, RUN_VARIABLE: str(one.folder)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert said.stdout == "41\n"

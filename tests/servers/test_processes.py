"""Finding, ending and clearing real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers.processes import Process, clear_folder, kill_all, signal_all, working_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own session that works below `tmp_path`, with a child in yet another session."""
    work = tmp_path / "server" / "data"
    work.mkdir(parents=True)
    code = "import os, time\nif os.fork() == 0: os.setsid()\nos.write(1, b'up')\ntime.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=work, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(4) == b"upup"
            yield process
        finally:
            kill_all(tmp_path)


def test_a_process_is_told_apart_by_its_start() -> None:
    here = Process.current()

    assert here.pid == os.getpid()
    assert here.is_alive()
    assert Process.parse(str(here)) == here
    assert not Process(here.pid, here.started + 1).is_alive()


def test_an_ended_process_is_none_even_as_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    found = Process.find(child.pid)

    assert found is None or found.wait_gone(60)
    assert Process.find(child.pid) is None
    child.wait()


def test_who_works_in_a_folder_is_found_whatever_its_session(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    found = working_in(tmp_path)

    assert len(found) == 2
    assert sleeper.pid == found[0].pid
    assert working_in(tmp_path / "serv") == []


def test_killing_leaves_nobody(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    signal_all(tmp_path, signal.SIGSTOP)

    kill_all(tmp_path)

    assert working_in(tmp_path) == []
    assert sleeper.wait(60) == -signal.SIGKILL


def test_clearing_deletes_the_folder_as_well(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    clear_folder(tmp_path / "server")

    assert list(tmp_path.iterdir()) == []
    assert working_in(tmp_path) == []


def test_waiting_for_a_process_that_stays_says_so(sleeper: subprocess.Popen[bytes]) -> None:
    found = Process.find(sleeper.pid)

    assert found is not None
    assert not found.wait_gone(0.01)

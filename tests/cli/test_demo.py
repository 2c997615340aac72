"""`romancy demo` shows what it says: a real kill, a real restart, nothing done twice, everything undone."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROMANCY: Final = (sys.executable, "-m", "romancy")


def test_the_demo_survives_its_own_kill(tmp_path: Path) -> None:
    command = [*ROMANCY, "demo", "--keep", "kept.db"]
    played = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=True)

    told = [line.strip() for line in played.stdout.splitlines()]
    assert 1 == told.count("book   flight to Lisbon")
    assert 1 == told.count("book   hotel in Lisbon")
    assert 2 == told.count("book   car in Lisbon …")
    assert re.search(r"kill -9 \d+", played.stdout)
    assert told.index("undo   hotel in Lisbon") < told.index("undo   flight to Lisbon")
    assert "end    the trip failed: no cars left in Lisbon" in told
    events = re.findall(r"^ +\d+  (\w+)", played.stdout, re.MULTILINE)
    assert ("WorkflowStarted", "WorkflowFailed") == (events[0], events[-1])
    assert 1 == events.count("OwnerChanged")
    assert 2 == events.count("CompensationCompleted")
    assert all(len(line) <= 80 for line in played.stdout.splitlines())
    assert "" == played.stderr

    advised = told[-1].split()
    shown = subprocess.run([*ROMANCY, *advised[1:]], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "activity book_car:1: failed" in shown.stdout
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (2, True) == (again.returncode, "kept.db exists already" in again.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_stopped_leaves_no_worker(tmp_path: Path, number: signal.Signals) -> None:
    command = [*ROMANCY, "demo", "--keep", "kept.db"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("book   flight" in line for line in demo.stdout)
        (worker,) = map(int, Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split())
        ended = os.pidfd_open(worker)
        demo.send_signal(number)

        ready, _, _ = select.select([ended], [], [], 60)
        os.close(ended)

    assert ready, f"process {worker} is left behind"

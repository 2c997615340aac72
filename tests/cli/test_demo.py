"""`romancy demo` shows what it says: a real kill, a real restart, nothing done twice, everything undone."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

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
    assert (2, True) == (again.returncode, "kept.db is there already" in again.stderr)

"""The demo tells a true story: a real kill, a real restart, nothing done twice, everything undone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_survives_its_own_kill() -> None:
    played = subprocess.run(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, capture_output=True, text=True, timeout=200, check=True
    )

    told = [line.strip() for line in played.stdout.splitlines()]
    assert told.count("book   flight to Lisbon") == 1
    assert told.count("book   hotel in Lisbon") == 1
    assert told.count("book   car in Lisbon …") == 2
    assert re.search(r"kill -9 \d+", played.stdout)
    assert told.index("undo   hotel in Lisbon") < told.index("undo   flight to Lisbon")
    assert "no cars left in Lisbon" in played.stdout
    events = re.findall(r"^ +\d+  (\w+)", played.stdout, re.MULTILINE)
    assert events[0] == "WorkflowStarted"
    assert events[-1] == "WorkflowFailed"
    assert events.count("OwnerChanged") == 1
    assert events.count("CompensationCompleted") == 2

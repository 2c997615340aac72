"""`--stop-at` begins a debugger at a time of the simulation."""

from __future__ import annotations

import os
import subprocess
import sys

COMMAND = [
    sys.executable, "-m", "romancy_conformance.simulation", "--seed", "stops", "--programs", "1", "--instances", "1",
    "--seconds", "3",
]  # fmt: skip
LOOK = """
print("stopped at", world.now - world.began, "before", world._due[0][0] - world.began)
print("there are", sorted(vars()), cluster.processes is processes)
continue
"""


def test_a_debugger_begins_before_the_next_thing_that_is_due() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # so that it does not begin again for that
    command = [*COMMAND, "--stop-at", "1.5"]

    done = subprocess.run(command, input=LOOK, capture_output=True, text=True, check=True, env=environment)

    line = next(line for line in done.stdout.splitlines() if "stopped at" in line).split()
    now, due = int(line[-3]), int(line[-1])
    assert now <= 1_500_000 < due
    assert "'driver'" in done.stdout
    assert "0 findings" in done.stdout

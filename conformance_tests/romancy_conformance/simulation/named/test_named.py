"""Each named case comes about, and the engine survives it in several variations."""

from __future__ import annotations

import subprocess
import sys

import pytest

from romancy_conformance.simulation.named.catalogue import CASES


@pytest.mark.parametrize("name", CASES)
def test_the_engine_survives_it(name: str) -> None:
    command = [sys.executable, "-m", "romancy_conformance.simulation", "--seed", name, "--slices", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("digest") == 3

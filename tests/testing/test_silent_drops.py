"""A run that is dropped prints nothing, whatever the reason: neither of its own code nor of the worker's tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("dropping.py")
OF_THE_WORKER = "activities were interrupted", "waits for its database"
"""The worker's own warnings, the second on a machine under load, are lines of its log."""


@pytest.mark.parametrize("how", ["crash", "drain", "not sticky", "cancel", "terminate"])
def test_nothing_is_printed(how: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), how, url], capture_output=True, text=True, timeout=120, check=False
    )

    said = [line for line in ended.stderr.splitlines() if not any(warning in line for warning in OF_THE_WORKER)]
    assert (0, "", []) == (ended.returncode, ended.stdout, said)

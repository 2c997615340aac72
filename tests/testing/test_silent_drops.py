"""A run that is dropped prints nothing, whatever the reason: neither of its own code nor of the worker's tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("dropping.py")


@pytest.mark.parametrize("how", ["crash", "drain", "not sticky", "cancel", "terminate"])
def test_nothing_is_printed(how: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    ended = subprocess.run(
        [sys.executable, str(PROGRAM), how, url], capture_output=True, text=True, timeout=120, check=False
    )

    # The worker's own warning is a line of its log.
    said = [line for line in ended.stderr.splitlines() if "activities were interrupted" not in line]
    assert (0, "", []) == (ended.returncode, ended.stdout, said)

"""Both type checkers accept the accepted programs, and find every mistake of the refused ones, and only those."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = [str((HERE / name).relative_to(ROOT)) for name in ("accepted.py", "kit.py", "refused.py")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checker(checker: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", checker, *PROGRAMS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_mistake_is_marked_once() -> None:
    marked = [line for line in (HERE / "refused.py").read_text().splitlines() if "# type: ignore[" in line]
    assert len(marked) >= 20

"""The README's program, run as the README says: killed while it packs, run again, and once more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tools import readme_program

if TYPE_CHECKING:
    from pathlib import Path


def test_the_order_survives_its_kill_as_printed(tmp_path: Path) -> None:
    printed, seen = readme_program.play(sys.executable, tmp_path)

    assert printed == seen

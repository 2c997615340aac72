"""The README's program, done as the README says: run, killed while it packs, run again, and once more."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tools import markdown, tree

if TYPE_CHECKING:
    from pathlib import Path

RUN = "$ python order.py"


def test_the_order_survives_its_kill_as_printed(tmp_path: Path) -> None:
    blocks = markdown.read((tree.ROOT / "README.md").read_text("utf-8")).blocks
    (program,) = (block.text for block in blocks if block.language == "python")
    printed = next(block.text for block in blocks if block.text.startswith(RUN))
    (tmp_path / "order.py").write_text(program, "utf-8")
    command = [sys.executable, "-u", "order.py"]

    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8") as first:
        assert first.stdout is not None
        told = [RUN, first.stdout.readline().rstrip(), first.stdout.readline().rstrip()]
        first.kill()
        told += [*first.stdout.read().splitlines(), "Killed"]
    for _ in range(2):
        again = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8", timeout=200, check=True)
        told += [RUN, *again.stdout.splitlines()]

    assert printed.splitlines() == told

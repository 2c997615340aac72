"""Runs the README's program as the README describes: kills it while it packs, runs it again, and once more."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tools import markdown
from tools.distribution import environment_of_a_user
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN = "$ python order.py"


def play(python: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> tuple[list[str], list[str]]:
    """Run it with a Python in an empty folder; return the lines that the README prints, and those it printed.

    Without an environment, it has the one of a user, who has no tree.
    """
    blocks = markdown.read((ROOT / "README.md").read_text("utf-8")).blocks
    (program,) = (block.text for block in blocks if block.language == "python")
    printed = next(block.text for block in blocks if block.text.startswith(RUN))
    (folder / "order.py").write_text(program, "utf-8")
    command = [str(python), "-u", "order.py"]
    user = environment or environment_of_a_user()

    with subprocess.Popen(command, cwd=folder, env=user, stdout=subprocess.PIPE, encoding="utf-8") as first:
        assert first.stdout is not None
        seen = [RUN, first.stdout.readline().rstrip(), first.stdout.readline().rstrip()]
        first.kill()
        seen += [*first.stdout.read().splitlines(), "Killed"]
    for _ in range(2):
        again = subprocess.run(
            command, cwd=folder, env=user, stdout=subprocess.PIPE, encoding="utf-8", timeout=200, check=True
        )
        seen += [RUN, *again.stdout.splitlines()]
    return printed.splitlines(), seen

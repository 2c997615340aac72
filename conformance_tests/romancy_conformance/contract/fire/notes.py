"""Notes of a process for the test: one line for each fact, each a single write, so that a killed process keeps them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Notes", "read_notes"]


class Notes:
    """The writing side."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, *facts: tuple[object, ...]) -> None:
        """Write facts, each a tuple of words without blanks."""
        text = "".join(" ".join(map(str, fact)) + "\n" for fact in facts)
        if text:
            os.write(self._file, text.encode())


def read_notes(path: Path) -> list[tuple[str, ...]]:
    """Return all complete lines so far."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [tuple(line.split(" ")) for line in whole.splitlines()]

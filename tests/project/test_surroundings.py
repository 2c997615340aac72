"""The engine takes clocks and chance from its surroundings alone, so that a simulation can give it others."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = ("engine", "managing", "messages", "outbox", "results", "starting")
SOURCES = {"time", "random", "secrets", "uuid"}
ALLOWED = {
    "context.py": "a workflow's own chance, and a type",
    "engine/surroundings.py": "it is the place",
    "engine/worker/watchdog.py": "watches from a thread, and a simulated worker has none",
    "outbox/_http.py": "sends over real sockets",
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module.partition(".")[0]
            if node.module == "os":
                yield from ("random" for each in node.names if each.name == "urandom")


FILES = [
    *sorted((tree.ROOT / "romancy").glob("*.py")),
    *(path for part in PARTS for path in sorted((tree.ROOT / "romancy" / part).rglob("*.py"))),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(tree.ROOT / "romancy").as_posix())
def test_nothing_else_knows_a_clock_or_chance(path: Path) -> None:
    name = path.relative_to(tree.ROOT / "romancy").as_posix()
    found = SOURCES & set(imported(path))

    assert bool(found) == (name in ALLOWED), f"{name} imports {found}: ask romancy.engine.surroundings.here()"

"""The tree uses nothing that a patch release of a supported Python does wrongly."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCT = ("romancy/", "backends/", "conformance_tests/romancy_conformance/taps/", "tools/")
# Without its own text being one.
POSSESSIVE = re.compile(r"\)[*+?]" + r"\+|\(\?" + ">")
NUMBERED = re.compile(r"\?[0-9]")


def texts(path: Path) -> Iterator[str]:
    """The strings of a file, and the parts of its f-strings."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_pattern_is_possessive_or_atomic() -> None:
    """CPython 3.11.0 to 3.11.4 matches these wrongly when they hold a group (gh-106052)."""
    files = [path for path in tree.files(".py") if tree.name_of(path).startswith(PRODUCT)]
    assert [(tree.name_of(path), text) for path in files for text in texts(path) if POSSESSIVE.search(text)] == []
    assert POSSESSIVE.search(r"(?:a|b)*" + "+")


def test_no_statement_on_sqlite_numbers_its_parameters() -> None:
    """CPython 3.12.0 to 3.12.3 takes them for named ones, and warns of each statement with a row of values."""
    ours = [path for kind in (".py", ".sql") for path in tree.files(kind)]
    files = [path for path in ours if tree.name_of(path).startswith("backends/romancy_sqlite/")]
    assert len(files) > 30
    assert [tree.name_of(path) for path in files if NUMBERED.search(path.read_text("utf-8"))] == []

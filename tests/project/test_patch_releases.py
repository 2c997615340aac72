"""The tree uses nothing that a patch release of a supported Python does wrongly."""

from __future__ import annotations

import re

from tools import tree

PRODUCT = ("romancy/", "backends/", "conformance_tests/romancy_conformance/taps/", "tools/")
# Without its own text being one.
POSSESSIVE = re.compile(r"\)[*+?]" + r"\+|\(\?" + ">")
RAW = re.compile(r"\b(?:r|rf|fr)['\"]")
NUMBERED = re.compile(r"\?[0-9]")


def test_no_pattern_is_possessive_or_atomic() -> None:
    """CPython 3.11.0 to 3.11.4 matches these wrongly when they hold a group (gh-106052)."""
    files = [path for path in tree.files(".py") if tree.name_of(path).startswith(PRODUCT)]
    lines = [(tree.name_of(path), line) for path in files for line in path.read_text("utf-8").splitlines()]
    assert len(lines) > 30_000
    assert [(name, line) for name, line in lines if RAW.search(line) and POSSESSIVE.search(line)] == []
    assert POSSESSIVE.search("(?:a|b)*" + "+")


def test_no_statement_on_sqlite_numbers_its_parameters() -> None:
    """CPython 3.12.0 to 3.12.3 takes them for named ones, and warns of each statement with a row of values."""
    ours = [path for kind in (".py", ".sql") for path in tree.files(kind)]
    files = [path for path in ours if tree.name_of(path).startswith("backends/romancy_sqlite/")]
    assert len(files) > 30
    assert [tree.name_of(path) for path in files if NUMBERED.search(path.read_text("utf-8"))] == []


def test_nothing_waits_by_wait_for() -> None:
    """On Python 3.11 it loses a cancellation that comes beside the end of what it waits for (gh-86296)."""
    files = [path for path in tree.files(".py") if tree.name_of(path).startswith(("romancy/", "backends/"))]
    texts = {tree.name_of(path): path.read_text("utf-8") for path in files}
    assert len(texts) > 300
    assert [name for name, text in texts.items() if "await asyncio.wait_" + "for(" in text] == []

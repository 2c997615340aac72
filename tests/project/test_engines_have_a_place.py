"""Only the modules of engines name an engine. The rest of an adapter asks for a fact about its server."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tools import tree

ADAPTERS: Final = {
    "backends/romancy_mysql": "wsrep",
    "backends/romancy_postgres": "pg_dist",
}
"""Each adapter of several engines, and what else in it is an engine's word: of its settings, or of a kin of it."""
WIRES: Final = {"mysql", "postgres"}
"""Their own engines, whose names the adapters have."""
URL: Final = re.compile(r"\b\w+://")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_file_outside_of_the_engines_names_one(adapter: str) -> None:
    engines = {path.stem for path in (tree.ROOT / adapter / "engines").glob("*.py")} - WIRES - {"__init__", "engine"}
    assert engines
    name = re.compile("|".join([*sorted(engines), ADAPTERS[adapter]]), re.IGNORECASE)

    named = [
        f"{tree.name_of(path)}:{number}: {found[0]}"
        for path in tree.files(".py", ".sql")
        if tree.name_of(path).startswith(f"{adapter}/") and path.parent.name not in ("engines", "migrations")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := name.search(URL.sub("", line)))
    ]

    assert named == [], "state the fact, as a field of the engine, and let the engine's module say it"

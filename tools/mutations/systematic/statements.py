"""The texts of an adapter as it sends them: named scripts, with their parts in their places.

A template keeps its placeholders, which the adapter fills where it uses it. Conditions that an adapter composes in
Python (those of a search) are in no script: `test_find` compares their answers with those of a reference.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.storage.sql import bodies_of, load_heads, load_queries
from romancy.storage.sqlkit import scripts
from tools import tree
from tools.mutations.systematic.branch import git
from tools.mutations.systematic.mutants import mutants

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "Listed", "changed_since", "listed", "texts"]


_HINT: Final = re.compile(r"\s+(?:not indexed|indexed by \w+)\b")
"""SQLite refuses a statement without the condition that its index has, and not without the hint."""
_SHARED: Final = "romancy/storage/sqlkit"


class Dialect(NamedTuple):
    """A database of the suite, and the adapter that sends to it."""

    package: str
    literal_limits: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The files of scripts, in order."""
        files: tuple[str, ...] = import_module(f"{self.package}._scripts").FILES
        return files


DIALECTS: Final = {
    "sqlite": Dialect("romancy_sqlite"),
    "postgres": Dialect("romancy_postgres"),
    "mysql": Dialect("romancy_mysql", literal_limits=True),
    "mariadb": Dialect("romancy_mysql", literal_limits=True),
}


class Listed(NamedTuple):
    """A mutant of an adapter."""

    dialect: str
    statement: str
    kind: str
    was: str
    text: str
    """The whole text of the statement, changed."""
    number: int
    """Counts the mutants of a statement, from 1."""
    alike: int = 1
    """Counts those of a statement that look alike."""

    @property
    def key(self) -> str:
        """Names it in this tree."""
        return f"{self.dialect} {self.statement} {self.number}"

    @property
    def label(self) -> str:
        """Describes it to a reader."""
        return f"{self.key:36} {self.kind:11} {self.was if len(self.was) <= 140 else self.was[:139] + '…'}"


def texts(dialect: str, root: Path = tree.ROOT) -> dict[str, str]:
    """The texts by name, as the scripts of a tree have them. An own text replaces a shared one of the same name."""
    adapter = DIALECTS[dialect]
    found = _shared(dialect, root / _SHARED)
    for name in adapter.files:
        if (path := root / "backends" / adapter.package / name).exists():
            found |= load_queries(path)
    return _joined(found) if dialect == "postgres" else found


def _shared(dialect: str, folder: Path) -> dict[str, str]:
    """The shared texts, as the dialect has them."""
    pieces = import_module(f"{DIALECTS[dialect].package}._scripts").PIECES
    found: dict[str, str] = {}
    for file in (folder / name for name in scripts.FILES if (folder / name).exists()):
        bodies = bodies_of(file.read_text(encoding="utf-8"), file.name)
        for name, head in load_heads(file).items():
            text = scripts.written(bodies[name], pieces)
            found[name] = scripts.numbered(text, head.parameters) if dialect == "postgres" else text
    return found


def _joined(found: Mapping[str, str]) -> dict[str, str]:
    """Parts of PostgreSQL's statements in their places; a part is tried in each statement that holds it."""
    from romancy_postgres._scripts import statements_of  # noqa: PLC0415 - its driver is an extra

    return statements_of(found)


def listed(dialect: str) -> list[Listed]:
    """All mutants of an adapter."""
    found: list[Listed] = []
    for name, text in texts(dialect).items():
        alike = Counter[tuple[str, str]]()
        for number, each in enumerate(mutants(text, literal_limits=DIALECTS[dialect].literal_limits), 1):
            alike[each.kind, each.was] += 1
            changed = _HINT.sub("", each.text) if dialect == "sqlite" else each.text
            found.append(Listed(dialect, name, each.kind, each.was, changed, number, alike[each.kind, each.was]))
    return found


def changed_since(dialect: str, commit: str) -> set[str]:
    """The names of the texts that differ from those at the point where this branch left that commit's."""
    base = git("merge-base", commit, "HEAD").strip()
    package = f"backends/{DIALECTS[dialect].package}"
    names = [f"{package}/{name}" for name in DIALECTS[dialect].files] + [f"{_SHARED}/{name}" for name in scripts.FILES]
    with TemporaryDirectory() as folder:
        for name in names:
            if git("ls-tree", "--name-only", base, name):
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(git("show", f"{base}:{name}"), encoding="utf-8")
        before = texts(dialect, Path(folder))
    return {name for name, text in texts(dialect).items() if before.get(name) != text}

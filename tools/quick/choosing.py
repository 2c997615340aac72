"""Chooses the tests that a change needs, as many as there is time for."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.quick.changes import changed_functions, changed_lines
from tools.tiers import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from tools.quick.mapping import Map

__all__ = ["Needs", "choose", "importers", "needs"]

_IMPORT: Final = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+\(?([^)\n#]*)|import\s+([\w.]+))", re.MULTILINE)
_PRODUCT: Final = ("romancy/", "backends/")
_SERVERS: Final = {"backends/romancy_postgres/": "postgres", "backends/romancy_mysql/": "mysql"}
"""Adapters that no recorded test enters."""
_OF_ALL: Final = "tests/project/test_reference.py"
"""Reads the names and docstrings of the whole library."""
_FEW: Final = 3
"""A module that more test files import is about none of them."""
_ON_EACH_KIND: Final = 3
"""A test of the contract runs on memory, SQLite and a server, any other one on one of them."""


class Needs(NamedTuple):
    """What a change needs."""

    functions: frozenset[str] = frozenset()
    """Changed functions: the tests that enter one of them."""
    own: frozenset[str] = frozenset()
    """Changed test files: all their tests."""
    about: frozenset[str] = frozenset()
    """Test files that are about a changed module of the product: those of their tests that fit, before others."""
    files: frozenset[str] = frozenset()
    """Test files that use another changed file, or are about a changed adapter: as many of their tests as fit."""
    server: str = "postgres"


def needs(root: Path, base: str, paths: Iterable[str], recorded: Collection[str], tests: Collection[str]) -> Needs:
    """Return what the changed files need, of the recorded functions and the test files that there are."""
    functions, own, about, support, files = set[str](), set[str](), set[str](), set[str](), set[str]()
    server, users = "postgres", _users(root)
    for path in paths:
        adapter = next((folder for folder in _SERVERS if path.startswith(folder)), None)
        if adapter is not None:
            server = _SERVERS[adapter]
            files |= {test for test in tests if test.startswith((f"tests/backends/{server}/", CONTRACT))}
        elif path.startswith(_PRODUCT):
            functions |= _functions_of(root, base, path, recorded)
            about |= _about(path, users) & set(tests)
        elif path in tests:
            own.add(path)
        elif path.endswith("conftest.py"):
            files |= {test for test in tests if test.startswith(path.removesuffix("conftest.py"))}
        elif path.endswith(".py"):
            support.add(path)
    if support:
        files |= _reached(users, support) & set(tests)
    return Needs(frozenset(functions), frozenset(own), frozenset(about), frozenset(files), server)


def _about(path: str, users: Mapping[str, Collection[str]]) -> set[str]:
    """Return the test files that import this module, if it is not one that everything imports, and `_OF_ALL`.

    A table that a module has is entered by no test, and neither are its names.
    """
    direct = {user for user in users.get(_module(path), ()) if user.rpartition("/")[2].startswith("test_")}
    return (direct if len(direct) <= _FEW else set[str]()) | ({_OF_ALL} if path.startswith("romancy/") else set[str]())


def _functions_of(root: Path, base: str, path: str, recorded: Collection[str]) -> set[str]:
    """Return the changed functions of a file of the product; of one that is not Python, all of its package."""
    if not path.endswith(".py"):
        package = "/".join(path.split("/")[:2])
        return {function for function in recorded if function.startswith(f"{package}/")}
    if not (root / path).exists():
        return set()
    names = changed_functions((root / path).read_text("utf-8"), changed_lines(root, base, path))
    return {f"{path}::{name}" for name in names}


def importers(root: Path, paths: Collection[str]) -> set[str]:
    """Return the files of the tests that import one of these, directly or through others."""
    return _reached(_users(root), paths)


def _users(root: Path) -> dict[str, set[str]]:
    """Return the files of the tests and tools by the modules that they import."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for folder in ("tests", "conformance_tests", "tools"):
        for file in (root / folder).rglob("*.py"):
            path = file.relative_to(root).as_posix()
            for module in _imported(file.read_text("utf-8")):
                users[module].add(path)
    return dict(users)


def _reached(users: Mapping[str, Collection[str]], paths: Collection[str]) -> set[str]:
    found, new = set[str](), set(paths)
    while new:
        new = set(chain.from_iterable(users.get(_module(path), ()) for path in new)) - found
        found |= new
    return found


def _imported(source: str) -> set[str]:
    modules = set[str]()
    for package, names, module in _IMPORT.findall(source):
        modules |= {module} if module else {package, *(f"{package}.{name.split()[0]}" for name in _names(names))}
    return modules


def _names(names: str) -> list[str]:
    return [name for name in names.split(",") if name.strip()]


def _module(path: str) -> str:
    name = (
        path.removeprefix("conformance_tests/").removeprefix("backends/").removesuffix(".py").removesuffix("/__init__")
    )
    return name.replace("/", ".")


def choose(recorded: Map, wanted: Needs, seconds: float) -> list[str]:
    """Return the names of the tests, in the order of their worth, that take so many seconds of one process.

    First come those of changed test files, for each changed function its quickest test, and those that are about a
    changed module; then one test of each test file in turn.
    """
    of_file: defaultdict[str, list[str]] = defaultdict(list)
    for name in recorded.seconds:
        of_file[name.partition("::")[0]].append(name)
    quickest = [
        min(recorded.tests[each], key=recorded.seconds.__getitem__)
        for each in sorted(wanted.functions)
        if each in recorded.tests
    ]
    candidates = set(chain.from_iterable(recorded.tests.get(each, ()) for each in wanted.functions))
    candidates.update(chain.from_iterable(of_file[file] for file in wanted.files))
    own = sorted(chain.from_iterable(of_file[file] for file in wanted.own), key=recorded.seconds.__getitem__)
    about = sorted(chain.from_iterable(of_file[file] for file in wanted.about), key=recorded.seconds.__getitem__)
    return _within(seconds, [*own, *quickest, *about, *_in_turn(candidates, recorded.seconds)], recorded.seconds)


def _in_turn(names: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """Return one of each file, then the next of each, the quick ones first."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=lambda name: (seconds[name], name)):
        files[name.partition("::")[0]].append(name)
    rows = zip_longest(*(files[file] for file in sorted(files)))
    return [name for row in rows for name in row if name is not None]


def _within(seconds: float, names: Iterable[str], costs: Mapping[str, float]) -> list[str]:
    chosen: dict[str, None] = {}
    left = seconds
    for name in names:
        cost = costs[name] * (_ON_EACH_KIND if name.startswith(CONTRACT) else 1)
        if name not in chosen and cost <= left:
            left -= cost
            chosen[name] = None
    return list(chosen)

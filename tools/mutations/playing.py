"""Applies one mutation to a copy of the tree, and judges it by the named tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from msgspec import Struct

from tools import tree

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONTRACT", "Mutation", "Verdict", "mutated", "play", "play_unchanged"]

_COPIED = ("romancy", "backends", "conformance_tests", "tests", "tools", "typings", "pyproject.toml", "conftest.py")
CONTRACT = "conformance_tests/romancy_conformance/contract"
_PASSED, _FAILED = 0, 1
"""Exit codes of pytest. Any other code is an error of the run itself and proves nothing."""
_LIMIT, _LIMIT_OF_A_WAIT = 300, 45
"""Seconds for one test."""
_ENDS = re.compile(r"^(?:FAILED|ERROR) (?P<why>\S.*)$", re.MULTILINE)
_TIMEOUT = re.compile(r"^\++ Timeout \++$", re.MULTILINE)
_TIMED_OUT = "a test reached its time limit"
_BROKEN = re.compile(r"error in your SQL syntax|syntax error|no such column|[Uu]nknown column|column .* does not exist")
"""SQL that the server refuses shows nothing about the fence: every test would fail."""


class Mutation(Struct, frozen=True, kw_only=True):
    """A fence removed from the SQL of an adapter."""

    name: str
    """`backend: the fault it introduces`."""
    pitfall: str
    """The pitfall that the fence prevents: A4, B1 …"""
    file: str
    """A pattern of files in the tree: a statement may move between them."""
    text: str
    replacement: str
    tests: str
    """A file of the contract, and words that select the tests which must fail (as for `-k`)."""
    times: int = 1
    """How often the text occurs; each occurrence is replaced."""
    waits: bool = False
    """Without the fence a call waits forever, so a test that reaches its time limit has noticed the mutation."""

    @property
    def backend(self) -> str:
        """The database on which it runs."""
        return self.name.partition(":")[0]


class Verdict(Struct, frozen=True):
    """The result of one run of named tests."""

    passed: bool
    """The mutation was caught; on the unchanged tree, the tests passed."""
    why: str
    """The test that failed and how; or why the run shows nothing."""
    output: str


def mutated(mutation: Mutation) -> dict[str, str]:
    """Return the changed files with their new text.

    `LookupError` if the text does not occur as often as it should.
    """
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(tree.ROOT.glob(mutation.file))}
    count = sum(source.count(mutation.text) for source in sources.values())
    if count != mutation.times:
        raise LookupError(
            f"mutation {mutation.name!r}: its text occurs {count} times in {mutation.file}, not {mutation.times}; "
            f"the statement has changed: update tools/mutations/"
        )
    return {
        tree.name_of(path): source.replace(mutation.text, mutation.replacement)
        for path, source in sources.items()
        if mutation.text in source
    }


def play(mutation: Mutation, folder: Path) -> Verdict:
    """Run the named tests on a mutated copy in `folder`; `LookupError` if the mutation cannot be applied."""
    changed = mutated(mutation)
    _copy(folder)
    for name, source in changed.items():
        (folder / name).write_text(source, encoding="utf-8")
    code, output = _run(mutation.tests, mutation.backend, folder, _LIMIT_OF_A_WAIT if mutation.waits else _LIMIT)
    why = _why(output)
    if code != _FAILED:
        return Verdict(passed=False, why=f"pytest ended with {code}, no test failed", output=output)
    caught = mutation.waits if why == _TIMED_OUT else not _BROKEN.search(why)
    return Verdict(passed=caught, why=why, output=output)


def play_unchanged(tests: str, backend: str, folder: Path) -> Verdict:
    """Run the named tests on an unchanged copy in `folder`."""
    _copy(folder)
    code, output = _run(tests, backend, folder, _LIMIT)
    some = re.search(r"^\d+ passed", output, re.MULTILINE)
    return Verdict(passed=code == _PASSED and some is not None, why=_why(output), output=output)


def _copy(folder: Path) -> None:
    for name in _COPIED:
        original = tree.ROOT / name
        if original.is_dir():
            shutil.copytree(original, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(original, folder / name)


def _run(tests: str, backend: str, folder: Path, limit: int) -> tuple[int, str]:
    file, _, words = tests.partition(" ")
    paths = (folder, folder / "backends", folder / "conformance_tests")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"} | {
        "ROMANCY_TEST_BACKENDS": backend,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "400",  # so that the line on a failed test is complete
    }
    environment.pop("ROMANCY_SOAK", None)
    options = ("-q", "-x", "--tb=short", "-p", "no:cacheprovider", f"--timeout={limit}", "--timeout-method=thread")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"{CONTRACT}/{file}", *(["-k", words] if words else [])],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _why(output: str) -> str:
    if _TIMEOUT.search(output):
        return _TIMED_OUT
    found = _ENDS.search(output)
    return found["why"] if found else output.strip().rpartition("\n")[2]

"""One mutation, and how it is played."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from msgspec import Struct

__all__ = ["Mutation", "Verdict", "mutated", "play", "play_unchanged", "tree"]

_COPIED = ("romancy", "backends", "conformance_tests", "tests", "tools", "typings", "pyproject.toml", "conftest.py")
_SUITE = "conformance_tests/romancy_conformance"
_GREEN, _RED = 0, 1
"""What pytest returns when tests passed or failed; an error of the run itself is another number, and proves nothing."""
_LIMIT, _LIMIT_WHERE_IT_WAITS = 300, 45
"""Seconds for a test. Without its mend a store may wait for ever, and even in its teardown: then the process ends."""
_ENDS = re.compile(r"^(?:FAILED|ERROR) (?P<why>\S.*)$", re.MULTILINE)
_TIMEOUT = re.compile(r"^\++ Timeout \++$", re.MULTILINE)
_IN_VAIN = "a test waited until its time was up"
_BROKEN = re.compile(
    r"\b(SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError|UnboundLocalError)\b"
    r"|error in your SQL syntax|syntax error|no such column|[Uu]nknown column|column .* does not exist"
)
"""A mutation that is no program shows nothing about the mend: every test would fail."""


class Mutation(Struct, frozen=True, kw_only=True):
    """A mend taken out."""

    name: str
    """`backend: what is wrong now`."""
    pitfall: str
    """The hole it opens again: A4, B1 …"""
    file: str
    """A file of the tree, or a pattern for several: a mend may move between them."""
    text: str
    replacement: str
    tests: str
    """The file of the contract, or one under behaviour/ or tests/, and words of the names of the tests that must turn
    red (as for `-k`)."""
    times: int = 1
    """How often the text is there; all of it is replaced."""
    waits: bool = False
    """Without it something is waited for in vain: a test that runs out of time is a test that noticed."""

    @property
    def backend(self) -> str:
        """What it is played on."""
        return self.name.partition(":")[0]


class Verdict(Struct, frozen=True):
    """What the named tests made of a mutation."""

    caught: bool
    why: str
    """The test that failed and how; or why nothing is shown."""
    said: str


def tree() -> Path | None:
    """The source tree this package lies in; None where it was installed without one."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "backends").is_dir() else None


def mutated(mutation: Mutation, root: Path) -> dict[str, str]:
    """The files that change, as they are with the mend taken out.

    `LookupError` if its text is not there as often as it should be.
    """
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(root.glob(mutation.file))}
    count = sum(source.count(mutation.text) for source in sources.values())
    if count != mutation.times:
        raise LookupError(
            f"mutation {mutation.name!r}: its text stands {count} times in {mutation.file}, not {mutation.times}; "
            "the mend has changed, and the mutation must follow it"
        )
    return {
        str(path.relative_to(root)): source.replace(mutation.text, mutation.replacement)
        for path, source in sources.items()
        if mutation.text in source
    }


def _path(file: str) -> str:
    if file.startswith("tests/"):
        return file
    return f"{_SUITE}/{file}" if file.startswith("behaviour/") else f"{_SUITE}/contract/{file}"


def play(mutation: Mutation, root: Path, folder: Path) -> Verdict:
    """Run the named tests against the mutated copy in `folder`; `LookupError` if the mutation cannot be applied."""
    changed = mutated(mutation, root)
    _copy(root, folder)
    for name, source in changed.items():
        (folder / name).write_text(source, encoding="utf-8")
    code, said = _run(mutation.tests, mutation.backend, folder, _LIMIT_WHERE_IT_WAITS if mutation.waits else _LIMIT)
    why = _why(said)
    if code != _RED:
        return Verdict(caught=False, why=f"pytest ended with {code}, not in red", said=said)
    shown = mutation.waits if why == _IN_VAIN else not _BROKEN.search(why)
    return Verdict(caught=shown, why=why, said=said)


def play_unchanged(tests: str, backend: str, root: Path, folder: Path) -> Verdict:
    """The same without any mutation: `caught` if the tests are green, so that their red means something."""
    _copy(root, folder)
    code, said = _run(tests, backend, folder, _LIMIT)
    passed = re.search(r"^\d+ passed", said, re.MULTILINE)
    return Verdict(caught=code == _GREEN and passed is not None, why=_why(said), said=said)


def _copy(root: Path, folder: Path) -> None:
    for name in _COPIED:
        original = root / name
        if original.is_dir():
            shutil.copytree(original, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif original.exists():
            shutil.copy(original, folder / name)


def _run(tests: str, backend: str, folder: Path, limit: int) -> tuple[int, str]:
    file, _, words = tests.partition(" ")
    paths = (folder, folder / "backends", folder / "conformance_tests")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"} | {
        "ROMANCY_TEST_BACKENDS": backend,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "400",  # so that the line on a failed test is whole
    }
    environment.pop("ROMANCY_SOAK", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        f"--timeout={limit}",
        "--timeout-method=thread",
    ]
    done = subprocess.run(
        [*command, _path(file), *(["-k", words] if words else [])],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _why(said: str) -> str:
    if _TIMEOUT.search(said):
        return _IN_VAIN
    found = _ENDS.search(said)
    return found["why"] if found else said.strip().rpartition("\n")[2]

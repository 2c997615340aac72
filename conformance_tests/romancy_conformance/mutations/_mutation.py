"""One mutation, and how it is played."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from msgspec import Struct

__all__ = ["Mutation", "mutated", "play", "tree"]

_COPIED = ("romancy", "backends", "conformance_tests", "tests", "tools", "typings", "pyproject.toml", "conftest.py")
_SUITE = "conformance_tests/romancy_conformance"
_RED = 1
"""What pytest returns when tests failed; an error of the run itself is another number, and proves nothing."""
_LIMITED = ("--timeout=30", "--timeout-method=thread")
"""Without its mend a store may wait for ever, and even in its teardown: then the whole process ends, in red."""


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

    @property
    def backend(self) -> str:
        return self.name.partition(":")[0]


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


def play(mutation: Mutation, root: Path, folder: Path) -> tuple[bool, str]:
    """Run the named tests against the mutated copy in `folder`; whether they turned red, and what was said."""
    for name in _COPIED:
        original = root / name
        if original.is_dir():
            shutil.copytree(original, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif original.exists():
            shutil.copy(original, folder / name)
    for name, source in mutated(mutation, root).items():
        (folder / name).write_text(source, encoding="utf-8")
    file, _, words = mutation.tests.partition(" ")
    paths = (folder, folder / "backends", folder / "conformance_tests")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"} | {
        "ROMANCY_TEST_BACKENDS": mutation.backend,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("ROMANCY_SOAK", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *_LIMITED]
    done = subprocess.run(
        [*command, _path(file), *(["-k", words] if words else [])],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == _RED, done.stdout + done.stderr

"""Makes virtual environments for the runs, with uv: other Pythons, other versions of packages.

Each has this tree as an editable package, without its dependencies: the caller names all packages.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from tools.distribution import LOCK
from tools.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = ROOT / "build" / "machines"
"""Where the environments of `make test-pythons` and its relatives are kept from run to run."""
_READY: Final = ".ready"
_ENTRY: Final = re.compile(r"^(?=[\w.-]+==)", re.MULTILINE)


class NoEnvironmentError(RuntimeError):
    """An environment cannot be made; the message has the end of what uv said."""


def uv(*arguments: str | Path) -> str:
    """Run uv; return its output. Raises `NoEnvironmentError` if it fails."""
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoEnvironmentError(f"uv {' '.join(map(str, arguments[:2]))} failed: {done.stderr.strip()[-1500:]}")
    return done.stdout


def with_locked_packages(python: str, folder: Path) -> list[str]:
    """Make the environment of the lock file for a Python; return the names of the packages that it cannot have.

    It is kept and used again as long as the lock file stays as it is.
    """
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    ready = folder / _READY
    if ready.exists():
        known, *left_out = ready.read_text("utf-8").splitlines()
        if known == digest:
            return left_out
    _empty(python, folder)
    left_out = _install_lock(folder)
    _install_tree(folder)
    ready.write_text("\n".join([digest, *left_out]), "utf-8")
    return left_out


def with_packages(python: str, folder: Path, requirements: Path) -> None:
    """Make an environment with the packages that a file of requirements pins."""
    _empty(python, folder)
    _install(folder, "--no-deps", "--requirements", requirements)
    _install_tree(folder)


def _empty(python: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    uv("venv", "--quiet", "--clear", "--python", python, folder)


def _install_lock(folder: Path) -> list[str]:
    """Install all packages of the lock file; if that fails, one after another, and return those that failed."""
    try:
        _install(folder, "--no-deps", "--require-hashes", "--requirements", LOCK)
    except NoEnvironmentError:
        return [name for name, entry in _entries() if not _installs(folder, entry)]
    return []


def _entries() -> list[tuple[str, str]]:
    """Return each package of the lock file with its lines."""
    return [(entry.partition("==")[0], entry) for entry in _ENTRY.split(LOCK.read_text("utf-8"))[1:]]


def _installs(folder: Path, entry: str) -> bool:
    alone = folder / "one-package.txt"
    alone.write_text(entry, "utf-8")
    try:
        _install(folder, "--no-deps", "--require-hashes", "--requirements", alone)
    except NoEnvironmentError:
        return False
    return True


def _install_tree(folder: Path) -> None:
    _install(folder, "--no-deps", "--no-build-isolation", "--editable", ROOT)


def _install(folder: Path, *arguments: str | Path) -> None:
    uv("pip", "install", "--quiet", "--python", folder / "bin" / "python", *arguments)

"""Other Pythons, each with the packages that the core needs.

They are looked for, in this order, in ROMANCY_PYTHONS (paths, separated as in PATH), on the PATH, in pyenv, and in
Debian's sid, whose packages are unpacked into the cache like those of the servers. Nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from romancy_conformance.servers import debian
from romancy_conformance.servers.cache import build_once
from romancy_conformance.servers.kinds import ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("anyio>=4.4", "msgspec>=0.19", "typing_extensions", "uvloop>=0.21")
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
WHICH = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


@dataclass(frozen=True)
class Interpreter:
    """A Python that can import the core, or the reason why there is none."""

    version: str
    executable: str = ""
    missing: str = ""
    packages: str = ""
    """The folder of its fetched packages."""
    exact: str = ""

    def run(self, *arguments: str, input: str = "", **environment: str) -> str:
        """Run it at the root of the tree; return its output. Anything on its standard error fails the test."""
        tree = [str(ROOT / part) for part in ("", "backends", "conformance_tests")]
        folders = [*tree, self.packages or os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [self.executable, *arguments],
            input=input,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders)), **environment},
            check=False,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout


def this_one() -> Interpreter:
    exact = ".".join(map(str, sys.version_info[:3]))
    return Interpreter(exact.rpartition(".")[0], sys.executable, exact=exact)


@cache
def other(version: str) -> Interpreter:
    """Return the Python of this version; its packages are fetched once and kept in `.cache`."""
    if version == this_one().version:
        return this_one()
    try:
        executable, exact = _find(version)
        packages = build_once(_made(ROOT / ".cache") / f"packages-{exact}", lambda folder: _fetch(executable, folder))
    except (ServerUnavailableError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        return Interpreter(version, missing=f"python{version} cannot be had: {said.strip()[-300:]}")
    return Interpreter(version, executable, packages=str(packages), exact=exact)


def _find(version: str) -> tuple[str, str]:
    """Return a Python of this version, and its exact version."""
    for candidate in _candidates(version):
        try:
            exact = _succeed(candidate, "-c", WHICH).strip()
        except (OSError, subprocess.CalledProcessError):
            continue  # a version manager's stub for a Python that is not selected
        if exact == version or exact.startswith(f"{version}."):
            return candidate, exact
    raise ServerUnavailableError("none of those that are here runs")


def _candidates(version: str) -> Iterator[str]:
    yield from filter(None, os.environ.get("ROMANCY_PYTHONS", "").split(os.pathsep))
    short = ".".join(version.split(".")[:2])
    name = f"python{short}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if on_path := shutil.which(name, path=folder):
            yield on_path
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path) for path in sorted(managed.glob(f"{short}.*/bin/{name}"), reverse=True))
    yield str(debian.unpack(f"python{version}", "sid") / "usr/bin" / name)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _fetch(executable: str, folder: Path) -> None:
    """Run this Python's pip with the other one: wheels where there are some, built from source where not."""
    _succeed(
        sys.executable, "-m", "pip", "--python", executable, "install", "--quiet", "--target", str(folder), *NEEDED
    )


def _succeed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=250).stdout

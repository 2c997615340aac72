"""Other Pythons (`tools.machines.interpreters` finds them), each with the packages that the core needs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from romancy_conformance.servers.cache import build_once
from tools.machines.interpreters import NoPythonError, find

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("anyio>=4.5", "msgspec>=0.19", "typing_extensions", "uvloop>=0.21")


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
        found = find(version)
        folder = _made(ROOT / ".cache") / f"packages-{found.exact}"
        packages = build_once(folder, lambda folder: _fetch(found.executable, folder))
    except NoPythonError as error:
        return Interpreter(version, missing=str(error))
    except subprocess.CalledProcessError as error:
        return Interpreter(version, missing=f"python{version} cannot be had: {error.stderr.strip()[-300:]}")
    return Interpreter(version, found.executable, packages=str(packages), exact=found.exact)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _fetch(executable: str, folder: Path) -> None:
    """Run this Python's pip with the other one: wheels where there are some, built from source where not."""
    command = (sys.executable, "-m", "pip", "--python", executable, "install", "--quiet", "--target", str(folder))
    subprocess.run([*command, *NEEDED], capture_output=True, text=True, check=True, timeout=250)

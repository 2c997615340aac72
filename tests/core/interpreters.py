"""Other Pythons on this machine, each with an environment of its own in which the core can run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NEEDED = ("anyio>=4.4", "msgspec>=0.19", "typing_extensions", "uvloop")
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")


@dataclass(frozen=True)
class Interpreter:
    """A Python that can import the core, or the reason why there is none."""

    version: str
    executable: str = ""
    missing: str = ""
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def run(self, *arguments: str, input: str = "", **environment: str) -> str:
        """Run it at the root of the tree; its output. Whatever it complains about fails the test."""
        path = os.pathsep.join(str(ROOT / part) for part in ("", "backends", "conformance_tests"))
        done = subprocess.run(
            [self.executable, *arguments],
            input=input,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environment, "PYTHONPATH": path, **environment},
            check=False,
            timeout=110,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout


def this_one() -> Interpreter:
    return Interpreter(f"{sys.version_info.major}.{sys.version_info.minor}", sys.executable)


@cache
def other(version: str) -> Interpreter:
    """The Python of this version, made ready once and kept in `.cache`."""
    if version == this_one().version:
        return this_one()
    base = _find(version)
    if base is None:
        return Interpreter(version, missing=f"there is no python{version} here")
    home = ROOT / ".cache" / f"core-python{version}"
    executable = home / "bin" / "python"
    try:
        if not (home / "ready").exists():
            _succeed([*base.command, "-m", "venv", "--clear", str(home)], base.environment)
            _succeed([str(executable), "-m", "pip", "install", "--quiet", *NEEDED], {})
            (home / "ready").touch()
    except subprocess.CalledProcessError as error:
        return Interpreter(version, missing=f"python{version} could not be made ready: {error.stderr[-200:]}")
    return Interpreter(version, str(executable))


@dataclass(frozen=True)
class _Base:
    command: tuple[str, ...]
    environment: dict[str, str]


def _find(version: str) -> _Base | None:
    name = f"python{version}"
    if shutil.which(name) is None:
        return None
    for environment in ({}, *_of_a_version_manager(version)):
        try:
            _succeed([name, "-c", "pass"], environment)
        except subprocess.CalledProcessError:
            continue
        return _Base((name,), environment)
    return None


def _of_a_version_manager(version: str) -> list[dict[str, str]]:
    if shutil.which("pyenv") is None:
        return []
    known = _succeed(["pyenv", "versions", "--bare"], {}).split()
    return [{"PYENV_VERSION": one} for one in known if one.startswith(f"{version}.")]


def _succeed(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}, timeout=110
    )
    return done.stdout

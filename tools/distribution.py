"""What a user installs: the sdist and the wheel, built from the tree, and an environment with nothing else in it.

A test in the development environment does not test the wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.version import Version

from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOCK = ROOT / "requirements" / "dev.txt"


def environment_of_a_user(**more: str) -> dict[str, str]:
    """Return this process's environment variables without settings of Python and Romancy."""
    ours = ("PYTHON", "ROMANCY_", "VIRTUAL_ENV", "COVERAGE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program to its end as a user would; return its output. Raises `RuntimeError` with it if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment_of_a_user(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(map(str, command))
        raise RuntimeError(f"{said} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Build the wheel of a source tree into a folder."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=source)
    (wheel,) = folder.glob("romancy-*.whl")
    return wheel


def build_sdist(folder: Path) -> Path:
    """Build the sdist of the tree into a folder."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    (sdist,) = folder.glob("romancy-*.tar.gz")
    return sdist


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist; return its source tree."""
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # 3.11.4 and later have filters
        archive.extractall(folder)  # noqa: S202 - the sdist is ours
    (source,) = folder.iterdir()
    return source


def empty_environment(folder: Path) -> Path:
    """Make an empty virtual environment; return the folder of its commands."""
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    return folder / "bin"


def install(commands: Path, requirement: str | Path) -> None:
    """Install into such an environment, in the versions that the lock file names."""
    constraints = commands.parent / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in locked_versions().items()), "utf-8")
    uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", commands / "python")
    run(*uv, "--constraint", constraints, requirement, cwd=commands.parent)


def locked_versions(markers: Mapping[str, str] | None = None) -> dict[str, Version]:
    """Return the version of each package in the lock file; of several, the one for this Python or these markers."""
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\\n]+))?", LOCK.read_text("utf-8"), re.MULTILINE)
    given = dict(markers or {})
    here = [(name, version) for name, version, marker in pins if not marker or Marker(marker).evaluate(given)]
    return {name: Version(version) for name, version in (*((name, version) for name, version, _ in pins), *here)}

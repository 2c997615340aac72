"""Finds the Pythons of this machine.

They are looked for, in this order, in ROMANCY_PYTHONS (paths, separated as in PATH), on the PATH, in pyenv, and in
Debian's suites, whose packages are unpacked into the cache like those of the servers. Nothing is installed.

A version is written as `3.12`, as `3.12.1`, or as `3.14t` for a build without a global lock.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from romancy_conformance.servers import debian
from romancy_conformance.servers.kinds import ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14", "3.15")
"""The versions that Romancy supports."""
_SUITES: Final = {"3.11": "bookworm", "3.13": "trixie"}
"""The Debian suites of which these are the Python; sid has the newest ones."""
_WHICH: Final = """
import sys, sysconfig
print(".".join(map(str, sys.version_info[:3])) + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))
"""


class NoPythonError(RuntimeError):
    """No Python of a version can be had here; the message says which and why."""


@dataclass(frozen=True)
class Found:
    """A Python that runs here."""

    executable: str
    exact: str
    """Such as `3.14.2`, or `3.14.2t`."""


def find(version: str) -> Found:
    """Return the first Python of a version. Raises `NoPythonError` if there is none."""
    try:
        for candidate in chain(_local(version), _of_debian(version)):  # Debian's is fetched only if need be
            if found := _asked(candidate, version):
                return found
    except ServerUnavailableError as error:
        raise NoPythonError(f"python{version} cannot be had: {error}") from None
    raise NoPythonError(f"python{version} cannot be had: none of those that are here runs")


def oldest_and_newest(version: str) -> list[Found]:
    """Return the first and the last patch release of a version that are here, or the only one.

    Raises `NoPythonError` if there is none.
    """
    found = {known.exact: known for candidate in _local(version) if (known := _asked(candidate, version))}
    if not found:
        return [find(version)]
    ordered = sorted(found.values(), key=lambda known: [int(part) for part in re.findall(r"\d+", known.exact)])
    return ordered if len(ordered) == 1 else [ordered[0], ordered[-1]]


def _local(version: str) -> Iterator[str]:
    """Yield the programs of this machine that may be of a version."""
    yield from filter(None, os.environ.get("ROMANCY_PYTHONS", "").split(os.pathsep))
    short = ".".join(version.removesuffix("t").split(".")[:2])
    name = f"python{short}{'t' if version.endswith('t') else ''}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if on_path := shutil.which(name, path=folder):
            yield on_path
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path) for path in sorted(managed.glob(f"{short}.*/bin/{name}"), reverse=True))


def _of_debian(version: str) -> Iterator[str]:
    """Yield the one of a Debian suite, which is fetched here on first use, with the modules that make environments."""
    name = f"python{version}"
    yield str(debian.unpack(f"{name}-venv", _SUITES.get(version, "sid")) / "usr/bin" / name)


def _asked(candidate: str, version: str) -> Found | None:
    """Return this Python if it runs and is of the version: a version manager's stub for one not selected does not."""
    try:
        exact = subprocess.run(
            [candidate, "-c", _WHICH], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    same_build = exact.endswith("t") == version.endswith("t")
    matches = exact == version or exact.startswith(f"{version.removesuffix('t')}.")
    return Found(candidate, exact) if same_build and matches else None

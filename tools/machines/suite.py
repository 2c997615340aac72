"""Runs the suite in another environment and counts its tests."""

from __future__ import annotations

import os
import platform
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_SERVERS: Final = "memory,sqlite"
_COUNTED: Final = (0, 1)
"""The exit codes of pytest after a run that collected tests and ran them."""


@dataclass(frozen=True)
class Counts:
    """The tests of a run."""

    passed: int
    failed: int
    """Those that failed, and errors of collection and of fixtures."""
    skipped: int

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


def run(environment: Path, *arguments: str, backends: str = WITHOUT_SERVERS) -> Counts:
    """Run pytest on this tree in an environment; its output goes where ours goes.

    Raises `RuntimeError` if it ran no tests or was cut short.
    """
    report = environment / "tests.xml"
    report.unlink(missing_ok=True)
    options = ("-q", "-p", "no:cacheprovider", "--junitxml", str(report))
    done = subprocess.run(
        [str(environment / "bin" / "python"), "-m", "pytest", *options, *arguments],
        cwd=ROOT,
        env=_variables(environment) | {"ROMANCY_TEST_BACKENDS": backends},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode not in _COUNTED:
        raise RuntimeError(f"pytest ended with {done.returncode} in {environment.name}")
    return counted(report)


def counted(report: Path) -> Counts:
    """Return the counts of a report in the form of JUnit."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest wrote it
    counts = Counts(0, 0, 0)
    for suite in suites:
        tests, failures, errors, skipped = (int(suite.get(key, "0")) for key in _KEYS)
        counts += Counts(tests - failures - errors - skipped, failures + errors, skipped)
    return counts


_KEYS: Final = ("tests", "failures", "errors", "skipped")


def this_system() -> str:
    """Return the name of this system, such as `Debian 12 x86_64`."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return f"{platform.system()} {platform.release()} {platform.machine()}"
    name = release["ID"].capitalize()
    return f"{name} {release.get('VERSION_ID', release.get('VERSION_CODENAME', ''))} {platform.machine()}"


def _variables(environment: Path) -> dict[str, str]:
    """Return the variables of this process, without those that lead to another environment or are of another run."""
    ours = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}

"""`make test-windows` runs the tree's wheel on CPython for Windows, under Wine, and records the counts.

    python -m tools.machines.windows [scenarios] [product] [contract] [behaviour]

It needs root on Linux, debootstrap, and Maven's client or ROMANCY_WINDOWS_PYTHON. The first run makes a Debian with
Wine in the cache. Nothing of it is left running. No real Windows takes part.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.machines import records
from tools.machines.wine import PYTHON, CannotRunError, windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tools.machines.wine import Windows

SYSTEM: Final = "Windows, under Wine 10"
PRODUCT: Final = (
    "tests/backends/sqlite/test_settings.py",
    "tests/engine/test_clock.py",
    "tests/engine/test_host.py",
    "tests/testing/test_app.py",
)
"""Tests of the tree about what differs between systems, and of the kit for tests."""
RUNS: Final = {
    "scenarios": "README's program, demo, run, ui, dev, TestApp, crashes",
    "product": "tests of clock, processes, URLs and TestApp",
    "contract": "the contract",
    "behaviour": "behaviour",
}
_OPTIONS: Final = (
    "-c",
    "NUL",
    "-p",
    "no:cacheprovider",
    "--timeout",
    "900",
    "-q",
    "-ra",
    "--junitxml",
    r"W:\tests.xml",
)
_ENVIRONMENT: Final = {"ROMANCY_TEST_BACKENDS": "sqlite,memory", "HYPOTHESIS_STORAGE_DIRECTORY": r"W:\hypothesis"}


@dataclass(frozen=True)
class Counts:
    """How many passed, failed and were skipped."""

    passed: int
    failed: int
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(machine: Windows, work: Path, name: str) -> Counts:
    """Run one of RUNS to its end."""
    if name == "scenarios":
        return _scenarios(machine)
    if name == "product":
        return _tests(machine, work, "--rootdir", "T:\\", *(f"T:\\{path}".replace("/", "\\") for path in PRODUCT))
    return _tests(machine, work, "--rootdir", "W:\\", "--pyargs", f"romancy_conformance.{name}")


def _scenarios(machine: Windows) -> Counts:
    with machine.start(r"T:\tools\machines\on_windows.py", r"W:\scenarios", output=subprocess.PIPE) as process:
        lines: list[str] = []
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    failed = sum(line.startswith("FAILED ") for line in lines)
    return Counts(sum(line.startswith("passed ") for line in lines), failed or int(process.returncode != 0))


def _tests(machine: Windows, work: Path, *arguments: str) -> Counts:
    report = work / "tests.xml"
    report.unlink(missing_ok=True)
    with machine.start("-m", "pytest", *_OPTIONS, *arguments, environment=_ENVIRONMENT) as process:
        process.wait()
    if not report.exists():
        raise CannotRunError(f"pytest ended with {process.returncode} and no report")
    return _counted(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest wrote it


def _counted(suites: Iterable[ET.Element]) -> Counts:
    tests = failed = skipped = 0
    for suite in suites:
        tests += int(suite.get("tests", "0"))
        failed += int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        skipped += int(suite.get("skipped", "0"))
    return Counts(tests - failed - skipped, failed, skipped)


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in RUNS]:
        print(f"windows: no run {unknown[0]!r}; there are {', '.join(RUNS)}", file=sys.stderr)
        return 2
    failed = 0
    try:
        with tempfile.TemporaryDirectory(prefix="romancy-windows-") as folder, windows(Path(folder)) as machine:
            for name in names or RUNS:
                begun = time.monotonic()
                counts = run(machine, Path(folder), name)
                failed += counts.failed
                took = time.monotonic() - begun
                print(f"windows: {RUNS[name]}: {counts} in {took:.0f} s", flush=True)
                records.record(
                    SYSTEM, f"CPython {PYTHON}", "memory, SQLite", RUNS[name],
                    passed=counts.passed, failed=counts.failed, skipped=counts.skipped,
                )  # fmt: skip
    except CannotRunError as error:
        print(f"windows: {error}", file=sys.stderr)
        return 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

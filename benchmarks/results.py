"""The results: one JSON file, written after each measurement, from which tables, charts and comparisons are made."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from benchmarks.process import TREE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

__all__ = ["Case", "Figure", "Measured", "Results", "Summary", "figures_of", "this_commit", "this_machine"]


class Case(Struct, frozen=True, order=True):
    """One measurement to be made: a contestant, a scenario and a database."""

    scenario: str
    database: str
    who: str


class Figure(Struct, frozen=True):
    """A figure of a measurement. The first ones of a scenario are what its table shows."""

    what: str
    value: float
    unit: str = "/s"


class Measured(Struct, frozen=True):
    """The results of one round of a case."""

    case: Case
    round: int
    figures: list[Figure] = field(default_factory=list[Figure])
    wrong: int = 0
    """Wrong results and incomplete logs."""
    failed: str = ""
    """Why there is no figure."""


class Summary(Struct, frozen=True):
    """The rounds of one figure of a case."""

    median: float
    lowest: float
    highest: float
    unit: str
    rounds: int


class Results(Struct):
    """All measurements of a run."""

    commit: str = ""
    machine: dict[str, str] = field(default_factory=dict[str, str])
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    measured: list[Measured] = field(default_factory=list[Measured])

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return the results in the file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        """Replace the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        new.replace(path)

    def has(self, case: Case, number: int) -> bool:
        """Return whether this round is measured."""
        return any(one.case == case and one.round == number for one in self.measured)

    def begin(self, scenario: str, sizes: dict[str, int]) -> None:
        """Set the sizes of a scenario, and discard its measurements with other sizes."""
        if any(self.sizes.get(size) != value for size, value in sizes.items()):
            self.measured = [one for one in self.measured if one.case.scenario != scenario]
        self.sizes |= sizes

    def keep_others(self, commit: str, scenarios: Collection[str]) -> None:
        """Discard what other commits have measured of these scenarios, and say that this commit measures them."""
        added = f", and {commit} for {', '.join(scenarios)}"
        if not self.commit.endswith(added):
            self.commit += added
            self.measured = [one for one in self.measured if one.case.scenario not in scenarios]

    def gave_up(self, case: Case) -> bool:
        """Return whether a round of this case failed."""
        return any(one.case == case and one.failed for one in self.measured)

    def of(self, scenario: str) -> dict[Case, list[Measured]]:
        """Return the rounds of each case of a scenario."""
        found: dict[Case, list[Measured]] = {}
        for one in self.measured:
            if one.case.scenario == scenario:
                found.setdefault(one.case, []).append(one)
        return found

    def summary(self, case: Case, what: str) -> Summary | None:
        """Return the median and the spread of a figure."""
        found = [one for each in self.of(case.scenario).get(case, []) for one in each.figures if one.what == what]
        if not found:
            return None
        values = [one.value for one in found]
        return Summary(statistics.median(values), min(values), max(values), found[0].unit, len(values))


def figures_of(rounds: Iterable[Measured]) -> list[str]:
    """Return the names of the figures, in their order."""
    return list(dict.fromkeys(one.what for each in rounds for one in each.figures))


def this_machine() -> dict[str, str]:
    """Return the properties of the machine that readers of its figures need."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "cores": str(os.cpu_count()),
        "load before the run": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "processor": cpu,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def this_commit() -> str:
    """Return the commit of the tree, marked if the tree has changes."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=TREE, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a file of the kernel
            return file.readlines()
    except OSError:
        return []

"""What a run on a fresh machine shows: whether it is green, and the report of all runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.machines.inside import Left

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUMMARY: Final = re.compile(r"=+ .*\b(?:passed|failed|errors?)\b.* in [\d.]+s.*=+")
_USED: Final = re.compile(r"(?:memory|sqlite|postgres|mysql|mariadb): (.*?)(?:, \w+ .*)?: \d+ tests")
_FAILED: Final = re.compile(r"(?:FAILED|ERROR) \S+::.*")
_MOST: Final = 20


@dataclass(frozen=True)
class Outcome:
    """A run on one machine."""

    name: str
    commands: tuple[str, ...]
    seconds: float
    left: Left | None
    """None if the run did not reach its end."""
    output: list[str]

    @property
    def faults(self) -> list[str]:
        """What is not green, a line for each."""
        if self.left is None:
            return ["the run did not reach its end"]
        if len(self.left.codes) < len(self.commands):
            return ["git could not clone the tree"]
        codes = zip(self.commands, self.left.codes, strict=True)
        return [
            *(f"`{command}` failed with {code}" for command, code in codes if code),
            *(f"left behind: process {process}" for process in self.left.processes),
            *(f"left behind: {file}" for file in self.left.files),
            *(f"git status: {line}" for line in self.left.status),
        ]

    @property
    def counts(self) -> dict[str, int] | None:
        """How many tests the first run of pytest counted, or None without one."""
        line = next((line for line in self.output if _SUMMARY.fullmatch(line)), None)
        if line is None:
            return None
        found = {kind.rstrip("s"): int(number) for number, kind in re.findall(r"(\d+) (\w+)", line)}
        failed = found.get("failed", 0) + found.get("error", 0)
        return {"passed": found.get("passed", 0), "failed": failed, "skipped": found.get("skipped", 0)}

    @property
    def python(self) -> str:
        """The Python that the environment was made with."""
        found = re.search(r"^environment: ready: \S+ \(Python (\S+)\)$", "\n".join(self.output), re.MULTILINE)
        return f"CPython {found[1]}" if found else "unknown"

    @property
    def databases(self) -> str:
        """The databases that tests ran on."""
        names = [found[1] for line in self.output if (found := _USED.fullmatch(line))]
        return ", ".join(dict.fromkeys(names))

    @property
    def remarks(self) -> list[str]:
        """The tests that failed at first, and those that had no server."""
        failed = list(dict.fromkeys(line for line in self.output if _FAILED.fullmatch(line)))
        missing = dict.fromkeys(
            line for line in self.output if line.startswith(("NOT TESTED", "second look: UNSTEADY"))
        )
        rest = [f"… and {len(failed) - _MOST} more"] if len(failed) > _MOST else []
        return [*failed[:_MOST], *rest, *missing]


def report(outcomes: Sequence[Outcome]) -> int:
    """Print what every run showed; return the exit code."""
    print("\nfresh machines:")
    for outcome in outcomes:
        counts = outcome.counts
        tests = ", ".join(f"{number} {kind}" for kind, number in counts.items()) if counts else "no test counted"
        times = ", ".join(f"{seconds:.0f} s" for seconds in outcome.left.seconds) if outcome.left else "no times"
        verdict = "FAILED" if outcome.faults else "green"
        print(f"  {outcome.name}: {verdict}, {tests}; {outcome.seconds:.0f} s ({times}), {outcome.python}")
        for line in (*outcome.faults, *outcome.remarks):
            print(f"    {line}")
    return any(outcome.faults for outcome in outcomes)

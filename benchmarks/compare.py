"""`python -m benchmarks.compare BASE`: measures this tree and another commit in turn, and prints ratios.

It checks out the other commit below `build/bench`, with the scenarios and drivers of this tree, so that both do the
same work. A ratio above 1 means that this tree has more: more steps a second, or more microseconds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import BUILD, CONTESTANTS
from benchmarks.databases import DATABASES
from benchmarks.process import TREE, Process
from benchmarks.runs import Place
from benchmarks.scenarios import SCENARIOS
from benchmarks.tables import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Figure

__all__ = ["checked_out", "main"]

COMPARED = ("sequential", "together", "latency")


class OtherPlace(Place):
    """A place whose driver is that of another tree."""

    tree = TREE

    def on(self, url: str, who: str = "", *, module: str = "", env: dict[str, str] | None = None) -> Process:
        """Return a driver whose `romancy` comes from the other tree; the floor is the same for both."""
        if self.tree == TREE or who == "floor":
            return super().on(url, who, module=module, env=env)
        paths = os.pathsep.join(str(self.tree / name) for name in (".", "backends", "conformance_tests"))
        command = [sys.executable, "-m", module or self.contestant.module]
        return Process(command, url, self.log, tree=self.tree, env={"PYTHONPATH": paths, **(env or {})})


def checked_out(base: str) -> Path:
    """Check out a commit beside this tree, with the benchmarks of this tree."""
    commit = _git("rev-parse", "--short", f"{base}^{{commit}}")
    tree = BUILD / "base" / commit
    if not tree.exists():
        tree.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=TREE, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
    shutil.rmtree(tree / "benchmarks", ignore_errors=True)
    shutil.copytree(TREE / "benchmarks", tree / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return tree


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=TREE, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("base", help="the other commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--database", action="append", choices=DATABASES)
    for one in SCENARIOS.values():
        for size, default in one.SIZES.items():
            parser.add_argument(f"--{size.replace('_', '-')}", type=int, default=default, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    other = checked_out(chosen.base)
    sizes = {size: getattr(chosen, size) for one in SCENARIOS.values() for size in one.SIZES}
    print(f"{other.name} and {_git('describe', '--always', '--dirty')}: medians of {chosen.rounds} rounds in turn\n")
    print("| scenario | database | figure | before | now | now to before | spread |\n|---|---|---|--:|--:|--:|--:|")
    for name in chosen.scenario or COMPARED:
        for database in chosen.database or DATABASES:
            with tempfile.TemporaryDirectory() as folder:
                rounds = [
                    [_figures(name, database, tree, sizes, Path(folder)) for tree in (other, TREE)]
                    for _ in range(chosen.rounds)
                ]
            _report(name, database, rounds)


def _figures(name: str, database: str, tree: Path, sizes: dict[str, int], folder: Path) -> dict[str, Figure]:
    place = OtherPlace(CONTESTANTS["romancy"], database, sizes, folder)
    place.tree = tree
    found = {figure.what: figure for figure in SCENARIOS[name].measure(place)}
    if place.wrong:
        raise SystemExit(f"{name} on {database} in {tree}: {place.wrong} wrong results or logs")
    return found


def _report(name: str, database: str, rounds: Sequence[Sequence[dict[str, Figure]]]) -> None:
    for what, figure in rounds[0][0].items():
        before = [one[what].value for one, _ in rounds]
        now = [one[what].value for _, one in rounds]
        ratios = [new / old for old, new in zip(before, now, strict=True) if old]
        middle = statistics.median
        print(
            f"| {name} | {database} | {what} | {number(middle(before))} {figure.unit} | {number(middle(now))} | "
            f"{middle(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

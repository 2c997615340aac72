"""The map: which tests enter which functions, and how long they take."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["FOLDER", "Map", "Run", "load", "merge"]

FOLDER: Final = tree.ROOT / ".cache" / "quick"
"""It is removed by `make clean`. Each recording process leaves one file in it."""


class Run(NamedTuple):
    """One test: its name without a database, its time, and what it entered."""

    name: str
    seconds: float
    entered: frozenset[str]


class Map(NamedTuple):
    """What was recorded."""

    seconds: dict[str, float]
    tests: dict[str, frozenset[str]]
    """The names of the tests that enter a function."""


def write(file: Path, runs: Iterable[Run]) -> None:
    """Write what one process has recorded. Each function has a number, so the file stays small."""
    runs = list(runs)
    functions = sorted(frozenset[str]().union(*(run.entered for run in runs)))
    numbers = {function: number for number, function in enumerate(functions)}
    tests = [[run.name, round(run.seconds, 3), sorted(map(numbers.__getitem__, run.entered))] for run in runs]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"functions": functions, "tests": tests}), encoding="utf-8")


def load(file: Path) -> list[Run]:
    noted = json.loads(file.read_text("utf-8"))
    functions: list[str] = noted["functions"]
    tests: list[tuple[str, float, list[int]]] = noted["tests"]
    return [Run(name, seconds, frozenset(functions[number] for number in numbers)) for name, seconds, numbers in tests]


def merge(runs: Iterable[Run]) -> Map:
    seconds: dict[str, float] = {}
    tests: defaultdict[str, set[str]] = defaultdict(set)
    for run in runs:
        seconds[run.name] = run.seconds
        for function in run.entered:
            tests[function].add(run.name)
    return Map(seconds, {function: frozenset(names) for function, names in tests.items()})

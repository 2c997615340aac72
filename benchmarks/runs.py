"""A run: the cases of each scenario in rounds, so that the floor, Romancy and the peers take turns.

A run writes the results after each case. A run with the same commit and sizes continues the last one. It does not
repeat a failed case in the following rounds, because each repetition could take up to its time limit of a minute.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from benchmarks.contestants import BUILD, CONTESTANTS, Contestant, MissingError
from benchmarks.databases import empty_database
from benchmarks.process import DriverError, Process
from benchmarks.results import Case, Figure, Measured, Results, this_commit, this_machine

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["Place", "Scenario", "run"]


class Scenario(Protocol):
    """A module of `benchmarks.scenarios`. Its first line says what it measures."""

    __doc__: str | None
    TITLE: str
    CORE: bool
    """Whether it belongs to the table that ends within 15 minutes."""
    SIZES: dict[str, int]
    """Sizes with their defaults; each is a flag."""
    WHO: Sequence[str]

    @staticmethod
    def measure(place: Place) -> Iterable[Figure]:
        """Make one measurement. Wrong results go to `place.wrong`."""
        ...


class Place:
    """The place of one measurement: an empty database, and a process that knows its floor."""

    def __init__(self, contestant: Contestant, database: str, sizes: Mapping[str, int], folder: Path) -> None:
        self.contestant = contestant
        self.database = database
        self.sizes = sizes
        self.folder = folder
        self.wrong = 0
        self.versions: dict[str, str] = {}
        self.log = BUILD / "logs" / f"{contestant.name}-{database}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def database_url(self) -> AbstractContextManager[str]:
        """Return the URL of an empty database, as a context."""
        return empty_database(self.database, self.folder)

    def on(self, url: str, who: str = "", *, module: str = "", env: dict[str, str] | None = None) -> Process:
        """Return a driver on this database: the contestant's, that of another one, or another module beside ours."""
        contestant = CONTESTANTS[who] if who else self.contestant
        command: Sequence[str | Path] = [contestant.python, "-m", module] if module else contestant.command()
        driver = Process(command, url, self.log, env=env)
        self.versions[contestant.name] = driver.said["version"]
        return driver

    @contextmanager
    def driver(self, who: str = "") -> Generator[Process]:
        """Yield a driver on an empty database of its own."""
        with self.database_url() as url, self.on(url, who) as driver:
            yield driver

    def count(self, answer: Mapping[str, object]) -> None:
        """Add the errors of this answer."""
        wrong = answer.get("wrong", 0)
        assert isinstance(wrong, int)
        self.wrong += wrong


def run(
    scenarios: Mapping[str, Scenario], results: Results, path: Path, *, who: Sequence[str], databases: Sequence[str],
    rounds: int, folder: Path, minutes: float | None = None, keep: bool = False,
) -> None:  # fmt: skip
    """Measure the cases that the results lack; after `minutes`, if given, begin no further case.

    `keep`: the other scenarios keep what another commit has measured.
    """
    if keep:
        results.keep_others(this_commit(), scenarios)
    else:
        if results.commit != this_commit():
            results.measured.clear()
        results.commit, results.machine = this_commit(), this_machine()
    present = list(_present(who, results))
    todo = [
        (number, Case(name, database, one))
        for number in range(1, rounds + 1)
        for name, scenario in scenarios.items()
        for database in databases
        for one in present
        if one in scenario.WHO and database in CONTESTANTS[one].databases
    ]
    began = time.monotonic()
    for done, (number, case) in enumerate(todo, start=1):
        if results.has(case, number) or results.gave_up(case):
            continue
        if minutes and time.monotonic() - began > minutes * 60:
            print(f"the time is over: {len(todo) - done + 1} measurements are left", file=sys.stderr)
            return
        measured = _measured(scenarios[case.scenario], case, number, results, folder)
        results.measured.append(measured)
        results.write(path)
        said = ", ".join(f"{one.what} {one.value:,.4g} {one.unit}" for one in measured.figures[:3]) or measured.failed
        wrong = f"  {measured.wrong} WRONG" if measured.wrong else ""
        where = f"{done}/{len(todo)}  {case.scenario} {case.database} {case.who}"
        print(f"{time.monotonic() - began:5.0f} s  {where}: {said}{wrong}", file=sys.stderr, flush=True)


def _present(who: Sequence[str], results: Results) -> Iterable[str]:
    """Yield those whose environments can be made; note why the others cannot."""
    for name in who:
        try:
            CONTESTANTS[name].ready()
        except MissingError as error:
            results.left_out[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
        else:
            results.left_out.pop(name, None)
            yield name


def _measured(scenario: Scenario, case: Case, number: int, results: Results, folder: Path) -> Measured:
    place = Place(CONTESTANTS[case.who], case.database, results.sizes, folder)
    figures: list[Figure] = []
    failed = ""
    try:
        for figure in scenario.measure(place):
            figures.append(figure)  # noqa: PERF402 - figures before a failure count
    except Exception as error:  # noqa: BLE001 - the error is recorded, and the run continues
        failed = str(error) if isinstance(error, DriverError) else f"{type(error).__name__}: {error}"
    results.versions |= place.versions
    return Measured(case, number, figures, place.wrong, failed)

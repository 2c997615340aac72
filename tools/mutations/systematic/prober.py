"""The pytest plugin of a process that tries mutants: it runs collected tests many times, each time with one mutant.

    pytest -p tools.mutations.systematic.prober --probe JOB TESTS…

A job without mutants records what each test uses and how long it takes. Otherwise each mutant meets the tests that use
its statement: those that have noticed most of its siblings first, then those that notice most in a second, until one
fails. That one runs again at once without the mutant, and has to pass: what a mutant leaves behind in the process
shows nothing.

Every line of the answer is written before the next thing is done, so that the process can be ended at any moment.
"""

# pyright: reportPrivateUsage=false
# The shortening of walks is switched off.

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings
from msgspec import Struct, json

from romancy_conformance import taps
from romancy_conformance.contract.walking import walk
from tools.mutations.systematic import seam
from tools.mutations.systematic.seam import Heard

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["BEGINS", "Job", "Line", "Recorded", "Trial"]

BEGINS: Final = "begins"
"""What a process says before it runs a test."""
_BROKEN: Final = re.compile(
    r"error in your SQL syntax|syntax error|no such column|unknown column|column .* does not exist|incomplete input"
    r"|PostgresSyntaxError|AmbiguousParameterError|IndeterminateDatatypeError|UndefinedColumnError|DatatypeMismatch",
    re.IGNORECASE,
)
_TAPPED_COUNTS: Final = frozenset({"order", "lock", "skip"})
"""What only a plan or an interleaving may show."""
_COUNTING: Final = ("test_plans.py", "test_statements.py", "costs.py")
"""Tests that look at statements and plans and not at answers."""


class Recorded(Struct):
    """What a test used on the unchanged tree."""

    test: str
    seconds: float
    outcome: str
    statements: list[str]
    tapped: bool
    """Whether it looked at statements or held them up."""


class Trial(Struct):
    """A mutant to try."""

    key: str
    statement: str
    kind: str
    text: str


class Job(Struct):
    """What a process is to do."""

    answers: str
    """The file to add lines to."""
    trials: list[Trial] = []
    recorded: list[Recorded] = []
    until: float | None = None
    """The time, in seconds since 1970, after which no further test begins."""


class Line(Struct, omit_defaults=True):
    """What a process says: the test that begins, or what became of a mutant."""

    key: str
    outcome: str
    """`begins`, `killed`, `tapped` (noticed, but only where statements were looked at), `survived`, `unused`, `broken`,
    `unsure`, `left` (the time was up).
    """
    statement: str = ""
    test: str = ""
    why: str = ""
    tests: int = 0
    """How many tests ran."""
    seconds: float = 0
    limit: float = 0
    """The seconds after which a test that begins is hung."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("romancy").addoption("--probe", metavar="JOB", help="try the mutants of a job")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--probe"):
        seam.install()
        walk._PATIENCE = 0.0  # a walk that parts has shown enough
        settings.register_profile(
            "probe",
            settings.get_profile("suite"),
            phases=(Phase.explicit, Phase.generate),
            database=None,
            derandomize=True,
        )
        settings.load_profile("probe")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    path = cast("str | None", session.config.getoption("--probe"))
    if path is None:
        return None
    job = json.decode(Path(path).read_bytes(), type=Job)
    items = {item.nodeid: item for item in session.items}
    with Path(job.answers).open("a+", encoding="utf-8") as file:
        _Prober(job, items, file).run()
    return True


_ERROR = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the words of every error in the chain: an adapter says less than its driver."""
    report = yield
    if call.excinfo is not None:
        item.stash[_ERROR] = "\n".join(_chain(call.excinfo.value, set()))
    return report


def _chain(error: BaseException | None, met: set[int]) -> Iterator[str]:
    if error is None or id(error) in met:
        return
    met.add(id(error))
    yield f"{type(error).__name__}: {error}"
    yield from _chain(error.__cause__, met)
    yield from _chain(error.__context__, met)
    for each in cast("tuple[BaseException, ...]", getattr(error, "exceptions", ())):
        yield from _chain(each, met)


class _Prober:
    """Runs the tests of one process."""

    def __init__(self, job: Job, items: dict[str, pytest.Item], file: Any) -> None:
        self._job = job
        self._items = items
        self._file = file
        self._tapped = False
        file.seek(0)
        lines = [json.decode(line, type=Line) for line in file] if job.trials else []
        self._done = {line.key for line in lines if line.outcome != BEGINS}
        self._noticed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How often each test has noticed a mutant of a statement."""
        self._ran, self._won = Counter[str](), Counter[str]()
        """How often each test has run, and has noticed something."""
        for line in lines:
            if line.outcome == "killed":
                self._noticed[line.statement][line.test] += 1

    def run(self) -> None:
        if not self._job.trials:
            self._record()
            return
        warm = min((one for one in self._job.recorded if one.outcome == "passed"), key=lambda one: one.seconds)
        self._run(self._items[warm.test])  # makes what all tests of a process share, without a mutant
        for trial in self._job.trials:
            if trial.key not in self._done:
                self._say(self._try(trial))

    def _record(self) -> None:
        known = taps._tap_for

        def heard(package: str) -> Any:
            self._tapped = True
            return known(package)

        taps._tap_for = cast("Any", heard)
        for item in self._items.values():
            Heard.names.clear()
            self._tapped = False
            began = time.perf_counter()
            outcome, _ = self._run(item)
            seconds = time.perf_counter() - began
            one = Recorded(item.nodeid, round(seconds, 3), outcome, sorted(Heard.names), self._tapped or _counts(item))
            self._say(one)

    def _try(self, trial: Trial) -> Line:
        began = time.perf_counter()
        using = [one for one in self._job.recorded if one.outcome == "passed" and trial.statement in one.statements]
        noticed = self._noticed[trial.statement]
        plain = [one for one in using if not one.tapped or trial.kind in _TAPPED_COUNTS]
        others = [one for one in using if one not in plain]
        outcome, ran, failed, why = "survived" if using else "unused", 0, "", ""
        for one in [*self._in_order(plain, noticed), *self._in_order(others, noticed)]:
            if self._job.until is not None and time.time() > self._job.until:
                outcome = "left"
                break
            ran += 1
            self._ran[one.test] += 1
            limit = 30 + 10 * one.seconds
            self._say(Line(trial.key, BEGINS, trial.statement, one.test, limit=limit, tests=ran))
            Heard.changed = trial.statement, trial.text
            try:
                ended, words = self._run(self._items[one.test])
            finally:
                Heard.changed = None
            if ended == "failed":
                failed, why = one.test, words.partition("\n")[0]
                noticed[one.test] += 1
                self._won[one.test] += 1
                outcome = "killed" if one in plain else "tapped"
                if _BROKEN.search(words):
                    outcome = "broken"
                elif self._run(self._items[one.test])[0] != "passed":
                    outcome = "unsure"
                break
        seconds = round(time.perf_counter() - began, 2)
        return Line(trial.key, outcome, trial.statement, failed, why[:300], ran, seconds)

    def _in_order(self, some: list[Recorded], noticed: Counter[str]) -> list[Recorded]:
        """Those that have noticed siblings, then those that notice most in a second, as far as it is known."""

        def yields(one: Recorded) -> float:
            return (1 + self._won[one.test]) / (2 + self._ran[one.test]) / (0.05 + one.seconds)

        return sorted(some, key=lambda one: (-noticed[one.test], -yields(one)))

    def _run(self, item: pytest.Item) -> tuple[str, str]:
        """Run a test with everything that it needs. Return how it ended, and the errors, if it failed."""
        item.stash[_ERROR] = ""
        reports = runtestprotocol(item, log=False, nextitem=None)
        if failed := [report for report in reports if report.failed]:
            return "failed", item.stash[_ERROR] or str(failed[0].longrepr)
        return ("skipped" if any(report.skipped for report in reports) else "passed"), ""

    def _say(self, line: Line | Recorded) -> None:
        self._file.write(json.encode(line).decode() + "\n")
        self._file.flush()


def _counts(item: pytest.Item) -> bool:
    return item.path.name.endswith(_COUNTING)

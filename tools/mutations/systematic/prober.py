"""The pytest plugin of a process that tries mutants: it runs collected tests many times, each time with one mutant.

    pytest -p tools.mutations.systematic.prober --probe JOB TESTS…

A job without mutants records what each test uses and how long it takes. Otherwise each mutant meets the tests that use
its statement in the order of `Ranking`, until one fails. What a mutant leaves behind in the process shows nothing:
after some mutants the tests that failed run again without one, and have to pass.

Every line of the answer is written before the next thing is done, so that the process can be ended at any moment.
"""

# pyright: reportPrivateUsage=false
# The shortening of walks is switched off.

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings
from msgspec import json
from msgspec.structs import replace

from romancy_conformance import taps
from romancy_conformance.contract.walking import walk
from tools.mutations.systematic import seam
from tools.mutations.systematic.jobs import BEGINS, Job, Line, Recorded, Trial, source_of
from tools.mutations.systematic.ranking import Ranking
from tools.mutations.systematic.seam import Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__: list[str] = []

_HANGS: Final = 5.0
"""Seconds after which a test of no length is hung, on a machine that is not busy with more than it can do at a time."""
_BUSY: Final = 2.0
"""By how much a busy machine makes that longer at most: others wait, while a test that hangs takes no processor."""
_GRACE: Final = 10.0
"""Seconds in which a test that is cancelled has to end. Then its process is ended."""
_TOGETHER: Final = 8
"""After how many mutants that were noticed the tests that noticed them run again."""
_BROKEN: Final = re.compile(
    r"error in your SQL syntax|syntax error|no such column|unknown column|column .* does not exist|incomplete input"
    r"|PostgresSyntaxError|AmbiguousParameterError|IndeterminateDatatypeError|UndefinedColumnError|DatatypeMismatch",
    re.IGNORECASE,
)
_TAPPED_COUNTS: Final = frozenset({"order", "lock", "skip"})
"""What only a plan or an interleaving may show."""
_COUNTING: Final = ("test_plans.py", "test_statements.py", "costs.py")
"""Tests that look at statements and plans and not at answers."""


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
    for item in session.items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _limited(item.obj)
    with Path(job.answers).open("a+", encoding="utf-8") as file:
        _Prober(job, items, file).run()
    return True


class _Limit:
    """The seconds that a test may take which runs now, if there is a limit."""

    seconds: float | None = None


def _limited(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def limited(*values: Any, **more: Any) -> None:
        async with asyncio.timeout(_Limit.seconds):
            await test(*values, **more)

    return limited


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
        self._parent = os.getppid()
        file.seek(0)
        lines = [json.decode(line, type=Line) for line in file] if job.trials else []
        self._done = {line.key for line in lines if line.outcome != BEGINS}
        self._ranking = Ranking(lines)
        self._noticed: list[Line] = []
        """What is said when the tests that noticed it have passed without it."""

    def run(self) -> None:
        if not self._job.trials:
            self._record()
            return
        warm = min((one for one in self._job.recorded if one.outcome == "passed"), key=lambda one: one.seconds)
        self._run(self._items[warm.test])  # makes what all tests of a process share, without a mutant
        for trial in self._job.trials:
            if trial.key not in self._done:
                line = self._try(trial)
                if line.outcome in ("killed", "tapped"):
                    self._noticed.append(line)
                else:
                    self._say(line)
                if len(self._noticed) >= _TOGETHER or self._late():
                    self._confirm()
        self._confirm()

    def _record(self) -> None:
        known = taps._tap_for

        def heard(package: str) -> Any:
            self._tapped = True
            return known(package)

        taps._tap_for = cast("Any", heard)
        recorded = {(one.test, one.source) for one in self._job.recorded}
        for item in self._items.values():
            source = source_of(item.path)
            if (item.nodeid, source) in recorded:
                continue
            Heard.names.clear()
            self._tapped = False
            began = time.perf_counter()
            outcome, _ = self._run(item)
            seconds = round(time.perf_counter() - began, 3)
            tapped = self._tapped or _counts(item)
            self._say(Recorded(item.nodeid, seconds, outcome, sorted(Heard.names), tapped, source))

    def _try(self, trial: Trial) -> Line:
        began = time.perf_counter()
        using = [one for one in self._job.recorded if one.outcome == "passed" and trial.statement in one.statements]
        plain = [one for one in using if not one.tapped or trial.kind in _TAPPED_COUNTS]
        others = [one for one in using if one not in plain]
        line = Line(trial.key, "survived" if using else "unused", trial.statement, of=len(using))
        patience = self._job.patience
        for one in [*self._ranking.of(trial, plain), *self._ranking.of(trial, others)]:
            if self._late():
                line = replace(line, outcome="left")
                break
            if line.tests and patience < one.seconds:
                continue
            patience -= one.seconds
            line = replace(line, tests=line.tests + 1)
            _Limit.seconds = (_HANGS + 10 * one.seconds) * min(
                _BUSY, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
            )
            limit = _Limit.seconds + _GRACE
            self._say(Line(trial.key, BEGINS, trial.statement, one.test, limit=limit, tests=line.tests))
            Heard.changed = trial.statement, trial.text
            try:
                ended, words = self._run(self._items[one.test])
            finally:
                Heard.changed = None
                _Limit.seconds = None
            self._ranking.note(trial.statement, one.test, noticed=ended == "failed")
            if ended == "failed":
                outcome = "broken" if _BROKEN.search(words) else "killed" if one in plain else "tapped"
                line = replace(line, outcome=outcome, test=one.test, why=words.partition("\n")[0][:300])
                break
        return replace(line, seconds=round(time.perf_counter() - began, 2))

    def _late(self) -> bool:
        """Whether the time is up, or nobody waits for an answer any more."""
        return os.getppid() != self._parent or (self._job.until is not None and time.time() > self._job.until)

    def _confirm(self) -> None:
        """Say what was noticed. A test that fails without a mutant too shows nothing about one."""
        passed = {test: self._run(self._items[test])[0] == "passed" for test in {line.test for line in self._noticed}}
        for line in self._noticed:
            self._say(line if passed[line.test] else replace(line, outcome="unsure"))
        self._noticed.clear()

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

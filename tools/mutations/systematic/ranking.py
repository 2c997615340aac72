"""Which of the tests that use a statement most likely notices a mutant of it soonest."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tools.mutations.systematic.jobs import Line, Recorded, Trial

__all__ = ["Ranking"]

_SETUP = 0.05
"""Seconds that every test takes besides its own."""


class Ranking:
    """Learns from what each test has noticed so far."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        """Begin with what a former process has said."""
        self._ran, self._won = Counter[str](), Counter[str]()
        self._here: defaultdict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
        """By statement: how often each test ran, and how often it noticed a mutant; the same of files of tests."""
        for line in lines:
            if line.test and line.outcome in ("killed", "tapped"):
                self.note(line.statement, line.test, noticed=True)

    def note(self, statement: str, test: str, *, noticed: bool) -> None:
        """A test has run with a mutant of the statement."""
        ran, won = self._here[statement]
        self._ran[test] += 1
        self._won[test] += noticed
        for name in (test, _file_of(test)):
            ran[name] += 1
            won[name] += noticed

    def of(self, trial: Trial, tests: Iterable[Recorded]) -> list[Recorded]:
        """The tests in the order in which a mutant meets them.

        The one that noticed it in a former run comes first, then those that notice most in a second: mutants of this
        statement, by itself and by its file, and of others. Before it has run, a test that uses few statements is
        likely to be about this one.
        """
        ran, won = self._here[trial.statement]

        def yields(one: Recorded) -> float:
            focus = 1 / len(one.statements)
            anywhere = (focus + self._won[one.test]) / (2 + self._ran[one.test])
            file = _file_of(one.test)
            beside = won[file] / (1 + ran[file])
            here = ((anywhere + beside) / 2 + won[one.test]) / (1 + ran[one.test])
            return here / (_SETUP + one.seconds)

        return sorted(tests, key=lambda one: (one.test != trial.killer, -yields(one)))


def _file_of(test: str) -> str:
    return test.partition("::")[0]

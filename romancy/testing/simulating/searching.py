"""Plays many cases, some of them beside each other, and looks for a smaller case with the same finding."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from romancy.testing.simulating.cases import smaller
from romancy.testing.simulating.nurseries import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from romancy.testing.simulating.cases import Case, Outcome
    from romancy.testing.simulating.nurseries import Order

__all__ = ["Search"]

_SEEDS_OF_A_NURSERY: Final = 10
"""So many seeds are worth the import of the test's modules."""


class Search:
    """The interpreters of one call of `simulate`. Each imports the modules of the test once."""

    def __init__(self, order: Order, budget: float) -> None:
        self._order = order
        self._budget = budget
        self._until = time.monotonic() + budget
        self._lock = threading.Lock()
        self._nurseries = [Nursery(order)]
        self._left: Iterator[Case] = iter(())
        self._outcomes: dict[Case, Outcome] = {}
        self._errors: list[BaseException] = []
        self._ends = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for nursery in self._nurseries:
            nursery.close()

    def play(self, cases: Sequence[Case]) -> dict[Case, Outcome]:
        """Play cases in their order until one has a finding; return their outcomes.

        Each case that comes before one with a finding is played, so the first finding is the same in each run.
        """
        self._left = iter(cases)
        count = max(1, min(_cores(), -(-len(cases) // _SEEDS_OF_A_NURSERY)))
        self._nurseries += [Nursery(self._order) for _ in range(count - len(self._nurseries))]
        threads = [threading.Thread(target=self._play, args=(each,)) for each in self._nurseries]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._ends = True  # a test that is interrupted waits for no further seed
        if self._errors:
            raise self._errors[0]
        return {case: self._outcomes[case] for case in cases if case in self._outcomes}

    def _play(self, nursery: Nursery) -> None:
        try:
            while (case := self._next()) is not None:
                outcome = self._outcomes[case] = nursery.play(case)
                if outcome.findings or outcome.refusal:
                    self._ends = True
        except BaseException as error:  # noqa: BLE001 - raised again by the test's own thread
            self._errors.append(error)
            self._ends = True

    def _next(self) -> Case | None:
        with self._lock:
            if self._ends or (self._outcomes and time.monotonic() > self._until):
                return None
            return next(self._left, None)

    def smallest(self, case: Case, outcome: Outcome) -> tuple[Case, Outcome]:
        """The smallest case with a finding of the same kind that is found in time, and how it was played."""
        until, nursery = time.monotonic() + self._budget, self._nurseries[0]
        while True:
            for each in smaller(case, outcome):
                if time.monotonic() > until:
                    return case, outcome
                again = nursery.play(each)
                if again.kinds & outcome.kinds:
                    case, outcome = each, again
                    break
            else:
                return case, outcome


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Plays the workflows of a test on a simulated cluster, once for each seed, and reports the first finding.

Data: a case is a seed, a number of workers and the faults that happen; a word such as "17/3" or "17/1/2.5" says all of
it. All workers, their clocks and the wires to the database are simulated in one thread of one process, and the module
state of the test stands for the world outside: it survives the deaths of workers.

Promise: the same case gives the same run, and the same report. Each case is played in a process of its own. An
interpreter with PYTHONHASHSEED=0 imports the test's modules by name or by file, and forks for each case, so the order
of sets is the same in each run, whatever the caller's hash seed is. The code under test has to keep the promise too:
`time.time()`, `uuid4()` and `os.urandom` give other values in each run.

Failure modes: a finding is an AssertionError, with a smaller case that has a finding of the same kind. What cannot be
simulated is refused with a UsageError that names it. A case that ends its process or blocks it is a finding too. When
the budget is spent, no further seed begins, and the result says how many were played.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from romancy.declaring.callables import is_async
from romancy.errors import UsageError
from romancy.retry import Duration, seconds, whole_number
from romancy.testing._takes import check_takes
from romancy.testing.simulating.cases import Case, Outcome
from romancy.testing.simulating.faults import Faults
from romancy.testing.simulating.nurseries import INSIDE, Order
from romancy.testing.simulating.places import place_of, places_of_modules
from romancy.testing.simulating.report import report
from romancy.testing.simulating.searching import Search

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from random import Random

    from romancy.app import Romancy
    from romancy.testing.simulating.app import SimulatedApp
    from romancy.workflow import Workflow

    Client = Callable[[Romancy, Random], Coroutine[Any, Any, object]]
    Check = Callable[[Romancy], object]
    Prepare = Callable[[SimulatedApp], object]

__all__ = ["Simulated", "simulate"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What `simulate` has played, without a finding."""

    seeds: int
    """How many seeds: fewer than asked for if the budget was spent."""
    instances: int
    deaths: int
    faults: int
    """How many faults have happened, the deaths included."""
    effects: int
    """How many effects the ledgers of the test have recorded."""
    virtual: float
    """Seconds of the simulations' time."""


def simulate(
    workflows: Iterable[Workflow[..., Any]],
    client: Client,
    *,
    seeds: int | Iterable[int] = 100,
    seed: int | str | None = None,
    workers: int = 3,
    budget: Duration = 60.0,
    faults: Faults | None = None,
    check: Check | None = None,
    prepare: Prepare | None = None,
    patience: Duration = 300.0,
) -> Simulated:
    """Play workflows on a simulated cluster, once for each seed, while workers die and the database is out of reach.

    Fails with an AssertionError for the first seed with a finding. Its text names the finding, a smaller case that has
    it too, and the last steps before it. In each case, each instance has to end once the faults are over, each body has
    to follow its log, and what a `Ledger` says has to be in the log.

    - `client(app, chance)` starts instances, sends signals and waits, as a program would. `chance` is a
      `random.Random` that follows from the seed. What it raises is a finding.
    - `seeds`: how many seeds, from 0 on, or which. `seed`: this one alone, or the text that a report gives.
    - `workers`: how many processes work. A new one takes the place of each that dies.
    - `budget`: no further seed begins after so many seconds. Making a case smaller takes as long again at most.
    - `faults`: what goes wrong, and how often. `Faults.none()`: nothing.
    - `check(app)` is called at the end of each case, async or not. What it raises is a finding.
    - `prepare(app)` is called for the app of each worker before it is opened, to mock activities. If it returns a
      context manager, such as `app.override(…)`, this is entered for as long as the worker lives.
    - `patience`: within how many seconds of the simulation's time everything has to end after the last fault.

    Every case is played in another process, which imports the modules of the test: workflows and functions have to be
    defined in modules. Plain functions run on the event loop. Sockets, processes, threads, `time.sleep` and files to
    write to are refused.
    """
    if INSIDE in os.environ:
        raise UsageError(
            "simulate() was called while its test was imported by another interpreter: call it in a test function, or "
            'below `if __name__ == "__main__":`'
        )
    order = _order(workflows, client, check, prepare, faults, seconds(patience, "patience"))
    limit, places = seconds(budget, "budget"), whole_number(workers, "workers")
    cases = [Case(each, places) for each in _numbers(seeds)] if seed is None else [Case.read(seed, places)]
    with Search(order, limit) as search:
        played = search.play(cases)
        for case, outcome in played.items():
            _check(case, outcome)
            if outcome.findings:
                least, how = search.smallest(case, outcome) if seed is None else (case, outcome)
                raise AssertionError(report(case, outcome, least, how))
    return _summed(list(played.values()))


def _order(workflows: Any, client: Any, check: Any, prepare: Any, faults: Any, patience: float) -> Order:
    given = _listed(workflows) or ([] if isinstance(workflows, Iterable) else [workflows])
    if not given:
        raise UsageError("simulate() needs workflows: simulate([order], client)")
    for each in given:
        if getattr(each, "kind", None) != "workflow":
            raise UsageError(f"simulate() takes a list of workflows first, and {each!r} is none")
    if not callable(client) or not is_async(client):
        raise UsageError(
            f"simulate() takes a client after the workflows, `async def client(app, chance)`, and not {client!r}"
        )
    for option, function in (("check", check), ("prepare", prepare)):
        if function is not None and not callable(function):
            raise UsageError(f"{option}= takes a function that is called as {option}(app), not {function!r}")
    check_takes("client", client, "app", "chance")
    check_takes("check", check, "app")
    check_takes("prepare", prepare, "app")
    if faults is not None and not isinstance(faults, Faults):
        raise UsageError(f"faults= takes Faults(…), not {faults!r}")
    return Order(
        path=places_of_modules(),
        workflows=[place_of(each, f"workflow {each.name}") for each in given],
        client=place_of(client, "the client"),
        check=None if check is None else place_of(check, "check="),
        prepare=None if prepare is None else place_of(prepare, "prepare="),
        faults=Faults() if faults is None else faults,
        patience=patience,
    )


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Iterable) else []  # pyright: ignore[reportUnknownArgumentType]


def _numbers(seeds: Any) -> list[int]:
    if isinstance(seeds, Iterable):
        found = _listed(seeds)
        if not found or not all(isinstance(each, int) and not isinstance(each, bool) for each in found):
            raise UsageError(
                f"seeds={seeds!r}: this takes a number of seeds, or the seeds as whole numbers, one or more"
            )
        return found
    return list(range(whole_number(seeds, "seeds")))


def _check(case: Case, outcome: Outcome) -> None:
    """Raise UsageError for a case that could not be simulated, or in which nothing happened."""
    if outcome.refusal:
        raise UsageError(outcome.refusal)
    if not outcome.findings and not outcome.instances:
        raise UsageError(f"the client has started no instance (seed {case.seed}), so nothing could go wrong")


def _summed(outcomes: Sequence[Outcome]) -> Simulated:
    return Simulated(
        seeds=len(outcomes),
        instances=sum(each.instances for each in outcomes),
        deaths=sum(each.deaths for each in outcomes),
        faults=sum(len(each.struck) for each in outcomes),
        effects=sum(each.effects for each in outcomes),
        virtual=sum(each.virtual for each in outcomes),
    )

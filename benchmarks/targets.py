"""The targets and whether a run met them: ratios to the other libraries, shares of the floor, rates and CPU."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from benchmarks.contestants import CONTESTANTS
from benchmarks.results import Case
from benchmarks.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results

__all__ = ["table"]

IN_TURN: Final = {"dbos": 10.0, "edda": 10.0, "absurd": 3.0, "unhinged": 0.95}
AT_ONCE: Final = {"dbos": 100.0, "edda": 100.0, "absurd": 40.0}
SHARE: Final = 80.0
"""Per cent of the floor, for the steps of one workflow."""
LAZY: Final = 5.0
"""The ratio of the lazy steps of one workflow to its plain ones."""
RATE: Final = {"sqlite": 25_000.0, "postgres": 25_000.0, "mysql": 18_000.0, "mariadb": 18_000.0}
"""Steps a second of 500 workflows at once."""
CPU: Final = 30.0
"""Microseconds of Romancy's process for a step of 500 workflows at once."""
GROWTH: Final = 1.2
"""The time of a step in the last tenth of a workflow of 10,000, to that in the first tenth."""
DISTANT: Final = 80.0
"""Per cent of the steps of 500 workflows at once that remain when a round trip takes 5 ms longer."""
LONE: Final = ("median", "99th percentile")
"""Of the time of a lone job in a queue, in one process and beside a worker: not above that of Celery with Redis."""
BULK: Final = "500 at once, started in bulk"
CPU_BULK: Final = "CPU a step, started in bulk"


class Held(Struct, frozen=True):
    """A target and the measured figure."""

    what: str
    wanted: str
    got: str
    reached: bool


def table(results: Results) -> str:
    """Return the table of the targets that this run can judge."""
    lines = [
        f"| {one.what} | {one.wanted} | {one.got} | {'reached' if one.reached else '**missed**'} |"
        for one in _judged(results)
    ]
    return "\n".join(["| target | wanted | measured | |", "|---|--:|--:|---|", *lines]) if lines else ""


def _judged(results: Results) -> Iterator[Held]:
    for database in RATE:
        yield from _ratios(results, database)
        share = _median(results, "sequential", database, "romancy", "share of the floor")
        if share is not None:
            yield Held(
                f"{database}, one after another, of the floor", f"{SHARE:.0f} %", f"{share:.0f} %", share >= SHARE
            )
        lazy = _median(results, "sequential", database, "romancy", "lazy to plain")
        if lazy is not None:
            yield Held(f"{database}, lazy steps, to plain ones", f"{LAZY:.0f} ×", f"{number(lazy)} ×", lazy >= LAZY)
        rate = _median(results, "together", database, "romancy", BULK)
        if rate is not None:
            wanted = RATE[database]
            yield Held(f"{database}, 500 at once, steps a second", f"{wanted:,.0f}", number(rate), rate >= wanted)
        cost = _median(results, "together", database, "romancy", CPU_BULK)
        if cost is not None:
            yield Held(f"{database}, 500 at once, own CPU a step", f"{CPU:.0f} µs", f"{cost:.0f} µs", cost <= CPU)
        growth = _median(results, "growth", database, "romancy", "last to first")
        if growth is not None:
            what = f"{database}, a step at the end of 10,000, to one at the beginning"
            yield Held(what, f"at most {GROWTH} ×", f"{number(growth)} ×", growth <= GROWTH)
        yield from _remaining(results, database)
        yield from _lone(results, database)


def _remaining(results: Results, database: str) -> Iterator[Held]:
    """Judge the part of a rate that remains in worse conditions."""
    for scenario, what, best, worst, least in (
        ("workers", "eight workers, to one", "1", "8", 100.0),
        ("network", "500 at once, 5 ms away, to none", "none: 500 at once", "5.0 ms: 500 at once", DISTANT),
    ):
        before = _median(results, scenario, database, "romancy", best)
        after = _median(results, scenario, database, "romancy", worst)
        if before and after is not None:
            share = after / before * 100
            yield Held(f"{database}, {what}", f"{least:.0f} %", f"{share:.0f} %", share >= least)


def _lone(results: Results, database: str) -> Iterator[Held]:
    """Judge the time of a lone job in a queue."""
    for what, figure in product(("lone job in one process", "lone job"), LONE):
        ours = _median(results, "queue", database, "romancy", f"{what}, {figure}")
        theirs = _median(results, "queue", "redis", "celery", f"lone job, {figure}")
        if ours is not None and theirs is not None:
            title = f"{database}, a queue, {what}, {figure}, to Celery's"
            yield Held(title, f"at most {number(theirs)} ms", f"{number(ours)} ms", ours <= theirs)


def _ratios(results: Results, database: str) -> Iterator[Held]:
    """Judge the same work by the same method: nothing is started in bulk here."""
    for scenario, figure, wanted in (("sequential", "steps", IN_TURN), ("together", "500 at once", AT_ONCE)):
        ours = _median(results, scenario, database, "romancy", figure)
        for peer, least in wanted.items():
            theirs = _median(results, scenario, database, peer, figure)
            if ours is None or not theirs:
                continue
            what = "one after another" if scenario == "sequential" else figure
            title = f"{database}, {what}, to {CONTESTANTS[peer].title}"
            yield Held(title, f"{least:g} ×", f"{number(ours / theirs)} ×", ours / theirs >= least)


def _median(results: Results, scenario: str, database: str, who: str, figure: str) -> float | None:
    found = results.summary(Case(scenario, database, who), figure)
    return None if found is None else found.median

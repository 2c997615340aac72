"""The tables of a run, in Markdown: a scenario, its databases and contestants, medians with the lowest and highest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contestants import CONTESTANTS
from benchmarks.results import figures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.results import Case, Measured, Results, Summary

__all__ = ["number", "table"]


def table(results: Results, name: str, title: str) -> str:
    """Return the table of a scenario. Databases that it leaves out have no line."""
    cases = {
        case: rounds for case, rounds in results.of(name).items() if any(one.figures or one.failed for one in rounds)
    }
    names = figures_of(one for rounds in cases.values() for one in rounds)
    head = ["database", "", *names, "wrong"]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(names) + 1)]
    lines += [_line(results, case, rounds, names) for case, rounds in _in_order(cases)]
    return "\n".join(lines)


def _in_order(cases: Mapping[Case, list[Measured]]) -> Iterator[tuple[Case, list[Measured]]]:
    """Yield them by database, in the order in which they were first measured."""
    for database in dict.fromkeys(case.database for case in cases):
        yield from ((case, rounds) for case, rounds in cases.items() if case.database == database)


def _line(results: Results, case: Case, rounds: list[Measured], names: list[str]) -> str:
    cells = [_cell(results.summary(case, name)) for name in names]
    failed = sum(bool(one.failed) for one in rounds)
    wrong = str(sum(one.wrong for one in rounds)) + (f", {failed} of {len(rounds)} rounds failed" if failed else "")
    return f"| {case.database} | {CONTESTANTS[case.who].title} | " + " | ".join([*cells, wrong]) + " |"


def _cell(found: Summary | None) -> str:
    if found is None:
        return ""
    unit = "" if found.unit.endswith("/s") else f" {found.unit}"
    spread = f" ({number(found.lowest)} to {number(found.highest)})" if found.rounds > 1 else ""
    return f"{number(found.median)}{unit}{spread}"


def number(value: float) -> str:
    """Return a figure with three significant digits, or all digits before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"

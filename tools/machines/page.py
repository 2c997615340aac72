"""The tables of the page "Where it runs": what the runs recorded, and the wheels of the dependencies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tools.machines import wheels
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.machines.records import Run

PAGE: Final = ROOT / "docs" / "where-it-runs.md"
RUNS: Final = "runs"
WHEELS: Final = "wheels"
_COMMAND: Final = "written by python -m tools.machines.records"


def of_runs(runs: Sequence[Run]) -> str:
    """Return the table of the runs."""
    if not runs:
        return "No run is recorded."
    return _table(
        ("system", "Python", "databases", "what ran", "passed", "failed", "skipped", "commit", "date"),
        (
            (
                *(run.system, run.python, run.databases, run.what),
                *(f"{count:,}" for count in (run.passed, run.failed, run.skipped)),
                *(f"`{run.commit}`", run.date),
            )
            for run in runs
        ),
    )


def of_wheels(answers: dict[str, Any]) -> str:
    """Return the table of the wheels: a row for each system, a column for each Python."""
    missing: dict[str, dict[str, list[str]]] = answers["missing"]
    pythons = list(next(iter(missing.values())))
    table = _table(
        ("system", *pythons),
        ((system, *(_in_words(row[python]) for python in pythons)) for system, row in missing.items()),
    )
    return f"{table}\n\nAsked on {answers['date']} for {', '.join(answers['packages'])}."


def _in_words(missing: Sequence[str]) -> str:
    return f"without {', '.join(missing)}" if missing else "all"


def with_tables(page: str, runs: Sequence[Run], answers: dict[str, Any]) -> str:
    """Return the page with the tables between their marks."""
    return _between(_between(page, RUNS, of_runs(runs)), WHEELS, of_wheels(answers))


def read_answers() -> dict[str, Any]:
    """Return what was written down about wheels."""
    answers: dict[str, Any] = json.loads(wheels.ANSWERS.read_text("utf-8"))
    return answers


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" if line[0] != "---" else "|---" * len(line) + "|" for line in lines)


def _between(page: str, name: str, text: str) -> str:
    """Return the page with this text between the marks of a name. Raises `ValueError` if it lacks them."""
    start, end = f"<!-- {name}: {_COMMAND} -->", f"<!-- end of the {name} -->"
    before, found, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{PAGE.name} lacks the mark {end if found else start}")
    return f"{before}{start}\n\n{text}\n\n{end}{after}"


def write(runs: Sequence[Run]) -> None:
    """Write the tables of the page again."""
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), runs, read_answers()), "utf-8")

"""Writes the tables of a run into a page of the documentation, between two marks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from benchmarks import tables, targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import Results
    from benchmarks.runs import Scenario

__all__ = ["END", "START", "measured", "with_figures"]

START: Final = "<!-- figures: written by python -m benchmarks --report --page -->"
END: Final = "<!-- end of the figures -->"


def measured(results: Results, scenarios: Mapping[str, Scenario]) -> str:
    """Return all tables of a run, and a description of its machine."""
    machine = "; ".join(f"{what}: {value}" for what, value in results.machine.items())
    versions = ", ".join(f"{who} {version}" for who, version in sorted(results.versions.items()) if who != "floor")
    out = "".join(f"\n\n{reason}." for reason in results.left_out.values())
    judged = targets.table(results)
    parts = [
        f"Commit `{results.commit}`. {machine}.\n\n{versions}.{out}",
        "\n\n".join(tables.table(results, name, one.TITLE) for name, one in scenarios.items() if results.of(name)),
        *([f"### What must hold\n\n{judged}"] if judged else []),
    ]
    return "\n\n".join(parts)


def with_figures(page: str, text: str) -> str:
    """Return the page with this text between its marks. Its headings are one level under the heading above it."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    above = re.findall(r"^(#+) ", before, re.MULTILINE)[-1]
    text = re.sub(r"^### ", f"{above}# ", text, flags=re.MULTILINE)
    return f"{before}{START}\n\n{text}\n\n{END}{after}"

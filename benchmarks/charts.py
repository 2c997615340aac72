"""The charts of a run, as SVG for light and for dark pages: horizontal bars on a logarithmic scale.

The scale is logarithmic because the figures differ by two orders of magnitude. The line across a bar goes from the
lowest to the highest round. Each bar shows its figure, so readers do not need the axis.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from benchmarks.contestants import CONTESTANTS
from benchmarks.results import Summary
from benchmarks.tables import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.results import Results

__all__ = ["write"]


class Chart(Struct, frozen=True):
    """One figure of a scenario."""

    name: str
    title: str
    scenario: str
    what: str
    floor: str = ""
    """The floor's figure to show beside it."""


class Colours(Struct, frozen=True):
    """The colours of a page: of the text, of the floor, and of the libraries."""

    text: str
    faint: str
    bars: dict[str, str]


class Bar(Struct, frozen=True):
    """One line of a chart."""

    label: str
    who: str
    summary: Summary


CHARTS: Final = (
    Chart(
        "sequential", "Steps a second of one workflow, one after another", "sequential", "steps", "commits of one row"
    ),
    Chart("together-500", "Steps a second of 500 workflows at once", "together", "500 at once"),
    Chart(
        "latency", "Milliseconds from start to result of a workflow of one step (less is better)", "latency", "median"
    ),
)
LIGHT: Final = Colours(
    "#1f2328",
    "#afb8c1",
    {"romancy": "#0969da", "dbos": "#bc4c00", "edda": "#8250df", "absurd": "#1a7f37", "temporal": "#bf3989"},
)
DARK: Final = Colours(
    "#e6edf3",
    "#484f58",
    {"romancy": "#4493f8", "dbos": "#f0883e", "edda": "#ab7df8", "absurd": "#3fb950", "temporal": "#db61a2"},
)
_WIDTH, _LEFT, _RIGHT, _ROW, _BAR = 760, 230, 90, 24, 15


def write(results: Results, folder: Path) -> None:
    """Write each chart that has figures."""
    for chart in CHARTS:
        groups = [(name, bars) for name in _databases(results, chart) if (bars := list(_bars(results, chart, name)))]
        if not groups:
            continue
        for kind, colours in (("light", LIGHT), ("dark", DARK)):
            (folder / f"{chart.name}-{kind}.svg").write_text(_svg(chart.title, groups, colours), encoding="utf-8")


def _databases(results: Results, chart: Chart) -> list[str]:
    return list(dict.fromkeys(case.database for case in results.of(chart.scenario)))


def _bars(results: Results, chart: Chart, database: str) -> Iterator[Bar]:
    for case in results.of("floor"):
        if case.database == database and chart.floor and (found := results.summary(case, chart.floor)):
            yield Bar("the database's commits", "floor", found)
    for case in results.of(chart.scenario):
        if case.database == database and (found := results.summary(case, chart.what)):
            yield Bar(CONTESTANTS[case.who].title, case.who, found)


def _svg(title: str, groups: list[tuple[str, list[Bar]]], colours: Colours) -> str:
    """Return the picture."""
    values = [value for _, bars in groups for bar in bars for value in (bar.summary.lowest, bar.summary.highest)]
    low = 10 ** math.floor(math.log10(min(values)) - 0.01)
    span = math.log10(max(values) / low)
    room = _WIDTH - _LEFT - _RIGHT

    def place(value: float) -> float:
        return _LEFT + room * math.log10(value / low) / span

    parts: list[str] = [f'<text x="0" y="18" font-size="15" font-weight="600">{escape(title)}</text>']
    y = 34.0
    for database, bars in groups:
        parts.append(f'<text x="0" y="{y + 12:.0f}" font-weight="600">{escape(database)}</text>')
        for bar in bars:
            parts += _row(bar, y, place, colours)
            y += _ROW
        y += 8
    height = y + 4
    described = escape(
        "; ".join(f"{name}: {bar.label} {number(bar.summary.median)}" for name, bars in groups for bar in bars)
    )
    size = f'viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}"'
    look = f'font-family="system-ui, sans-serif" font-size="13" fill="{colours.text}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}" {look}>\n'
        f"<desc>{described}</desc>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _row(bar: Bar, y: float, place: Callable[[float], float], colours: Colours) -> list[str]:
    end, least, most = place(bar.summary.median), place(bar.summary.lowest), place(bar.summary.highest)
    middle = y + _BAR / 2 + 1
    return [
        f'<text x="{_LEFT - 8}" y="{y + 13:.0f}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{_LEFT}" y="{y + 1:.0f}" width="{max(end - _LEFT, 1):.1f}" height="{_BAR}" rx="2" fill="{colours.bars.get(bar.who, colours.faint)}"/>',  # noqa: E501
        f'<path d="M{least:.1f} {middle:.1f}H{most:.1f}" stroke="{colours.text}" stroke-width="1.5"/>',
        f'<text x="{max(end, most) + 6:.1f}" y="{y + 13:.0f}">{number(bar.summary.median)}</text>',
    ]

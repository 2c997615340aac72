"""How many instances were started over time, by status and workflow, as columns of a picture and rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.dashboard._ranges import RANGES
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.figures import Trend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.dashboard._rollups import Rollup

__all__ = ["Column", "OverTime", "Spans", "Spark", "over_time", "spans_of"]

_SECOND: Final = 1_000_000
_WIDE: Final = 10


class Spans(NamedTuple):
    """The successive spans of a range of the overview, the last of which holds the present."""

    name: str
    since: int
    width: int
    """In microseconds."""
    number: int


class Column(NamedTuple):
    """The instances started in a span of time."""

    at: int
    x: int
    parts: list[tuple[Status, int]]
    total: int
    failure: float | None
    """The share of failed instances among the ended ones; None if none has ended."""
    whole: bool
    """Whether all were counted."""


class Spark(NamedTuple):
    """The instances of one workflow started in a span: all, and the failed and stuck ones among them."""

    x: int
    total: int
    bad: int


class OverTime(NamedTuple):
    """The columns, oldest first."""

    name: str
    columns: list[Column]
    highest: int
    width: int
    workflows: dict[str, list[Spark]]
    """Of the newest instances alone, or of those in the rollup, as many columns for each workflow."""

    @property
    def partial(self) -> bool:
        """Whether some columns were not counted completely."""
        return not all(column.whole for column in self.columns)


def spans_of(name: str, now: int) -> Spans:
    """The spans of the range with this name."""
    _, seconds, count = RANGES[name]
    width = seconds * _SECOND
    return Spans(name, (now // width - count + 1) * width, width, count)


def over_time(
    spans: Spans,
    order: tuple[Status, ...],
    found: Trend,
    newest: Mapping[tuple[str, Status, int], int],
    rollup: Rollup | None,
) -> OverTime:
    """The columns of a trend, and those of workflows from the newest instances. A rollup fills in older ones."""
    name, since, width, number = spans
    rolled = 0
    if rollup is not None:
        rolled, newest = (rollup.since - since) // width, rollup.over(since, width)
        found = _completed(found, newest, rolled)
    columns = [_column(found, span, since + span * width, order, rolled) for span in range(number)]
    return OverTime(name, columns, max(column.total for column in columns), width, _sparks(newest, number))


def _completed(found: Trend, counted: Mapping[tuple[str, Status, int], int], rolled: int) -> Trend:
    """The trend, with the rollup's counts for spans before `rolled` that the trend does not count completely."""
    upto = {status: min(first, rolled) for status, first in found.whole_from.items()}
    statuses = {key: number for key, number in found.statuses.items() if key[1] >= upto.get(key[0], 0)}
    for (_, status, span), number in counted.items():
        if span < upto.get(status, 0):
            statuses[status, span] = statuses.get((status, span), 0) + number
    return Trend(statuses, found.whole_from)


def _column(found: Trend, span: int, at: int, order: tuple[Status, ...], rolled: int) -> Column:
    parts = [(status, found.statuses[status, span]) for status in order if (status, span) in found.statuses]
    ended = sum(count for status, count in parts if status in TERMINAL_STATUSES)
    failed = found.statuses.get((Status.FAILED, span), 0)
    whole = span < rolled or all(span >= first for first in found.whole_from.values())
    return Column(at, span * _WIDE, parts, sum(count for _, count in parts), failed / ended if ended else None, whole)


def _sparks(newest: Mapping[tuple[str, Status, int], int], count: int) -> dict[str, list[Spark]]:
    sparks: dict[str, list[Spark]] = {}
    for (name, status, span), number in newest.items():
        if span < 0:
            continue
        own = sparks.setdefault(name, [Spark(column * _WIDE, 0, 0) for column in range(count)])
        if span < count:  # the newest instances may be in a span that is not drawn yet
            bad = number if status in {Status.FAILED, Status.STUCK} else 0
            own[span] = Spark(own[span].x, own[span].total + number, own[span].bad + bad)
    return sparks

"""The geometry of the timeline's picture: rows of bars under an axis. Pure; the template draws it.

Places are in percent of the width, so that it fits every screen without a script, and heights in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from romancy.dashboard.instance._axis import Axis, Break, Tick
from romancy.dashboard.instance._rows import Row, lasted, offset
from romancy.insight import BUSY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.insight import Bar

__all__ = ["ROW", "TOP", "Lane", "Picture", "Shape", "picture"]

ROW: Final = 24
TOP: Final = 36
_THINNEST: Final = 0.3
_ROOM: Final = 88.0
_NAMES: Final = {
    "queue": "waits for a free slot",
    "run": "attempt {} has not ended",
    "done": "attempt {} completed",
    "failed": "attempt {} failed",
    "stopped": "attempt {} was stopped",
    "lost": "attempt {} was lost with its worker",
    "pause": "pause before the next attempt",
    "wait": "waits",
}


class Shape(Struct, frozen=True, gc=False):
    """One bar."""

    kind: str
    x: float
    width: float
    title: str
    open: bool


class Lane(Struct, frozen=True, gc=False):
    """A row of the picture."""

    row: Row
    y: int
    shapes: tuple[Shape, ...]
    mark: float | None
    """Where a note is."""
    text: str
    """How long it took, beside the bars."""
    text_x: float
    text_at: Literal["right", "left", "inside"]
    """Where the text stands: behind the bars, before them, or on them if they leave no room."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn."""

    lanes: tuple[Lane, ...]
    ticks: list[Tick]
    breaks: list[Break]
    height: int
    begins: int
    ends: int
    title: str
    description: str


def picture(rows: Sequence[Row], origin: int, begins: int | None = None, ends: int | None = None) -> Picture | None:
    """The picture of these rows between two times, or of all of their time. None if there is nothing to draw."""
    shown = [row for row in rows if _within(row, begins, ends)]
    if not shown:
        return None
    first = min(row.begins for row in shown) if begins is None else begins
    last = max(row.ends for row in shown) if ends is None else ends
    axis = Axis(first, last, _work(shown), origin)
    lanes = tuple(_lane(row, TOP + index * ROW, axis) for index, row in enumerate(shown))
    return Picture(
        lanes=lanes,
        ticks=axis.ticks,
        breaks=axis.breaks,
        height=TOP + len(lanes) * ROW + 6,
        begins=axis.begins,
        ends=axis.ends,
        title=f"Timeline from {offset(axis.begins, origin)} to {offset(axis.ends, origin)}",
        description=_description(len(lanes), axis),
    )


def _within(row: Row, begins: int | None, ends: int | None) -> bool:
    return (begins is None or row.ends >= begins) and (ends is None or row.begins <= ends)


def _description(count: int, axis: Axis) -> str:
    cut = [each.length for each in axis.breaks]
    idle = f" Times without work are cut short: {', '.join(cut)}." if cut else ""
    return f"{count} rows, one for each step, in the order in which they began.{idle} The table has the same rows."


def _work(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """The times of work, and each time at which a step began or ended."""
    for row in rows:
        yield row.begins, row.begins
        yield row.ends, row.ends
        for bar in row.bars:
            if bar.kind in BUSY:
                yield bar.begins, bar.ends


def _lane(row: Row, y: int, axis: Axis) -> Lane:
    shapes = tuple(_shape(bar, axis) for bar in row.bars if bar.ends >= axis.begins and bar.begins <= axis.ends)
    mark = None if row.bars or not axis.begins <= row.begins <= axis.ends else axis.x(row.begins)
    left = min((shape.x for shape in shapes), default=mark or 0.0)
    right = max((shape.x + shape.width for shape in shapes), default=mark or 0.0)
    text_at: Literal["right", "left", "inside"] = "right"
    if right > _ROOM:
        text_at = "left" if left > 100 - _ROOM else "inside"
    return Lane(row, y, shapes, mark, _beside(row), round(left if text_at == "left" else right, 3), text_at)


def _beside(row: Row) -> str:
    if not row.bars:
        return ""
    return f"{row.took}, {row.attempts} attempts" if row.attempts > 1 else row.took


def _shape(bar: Bar, axis: Axis) -> Shape:
    x = axis.x(bar.begins)
    width = max(round(axis.x(bar.ends) - x, 3), _THINNEST)
    words = _NAMES[bar.kind].format(bar.attempt)
    return Shape(bar.kind, min(x, 100 - width), width, f"{words}, {lasted(bar.ends - bar.begins)}", bar.open)

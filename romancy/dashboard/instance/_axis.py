"""An axis of time in percent of a width, on which long times without work are cut short. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from romancy.insight import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Axis", "Break", "Tick"]

_SECOND: Final = 1_000_000
_MOST_BREAKS: Final = 24
_WIDEST_BREAK: Final = 3.0
_BREAKS_SHARE: Final = 36.0
_ENOUGH_WORK: Final = 0.4
_LEAST_BREAK: Final = 0.02
_APART: Final = 8.5
"""Least distance between two labels, in percent."""
_BREAKS_APART: Final = 4.5
_MOST_TICKS: Final = 60
_SHOWN_UNITS: Final = 2
_NICE: Final[tuple[int, ...]] = (
    *(digit * 10**power for power in range(6) for digit in (1, 2, 5)),
    *(count * _SECOND for count in (1, 2, 5, 10, 15, 30)),
    *(count * 60 * _SECOND for count in (1, 2, 5, 10, 15, 30)),
    *(count * 3600 * _SECOND for count in (1, 2, 3, 6, 12, 24, 48, 168, 720, 8760)),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line with the time since the origin. Its label is empty if two labels would touch."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Break:
    """A stretch of time that was cut short."""

    x: float
    width: float
    label: str
    """Its length. Empty if two labels would touch."""
    length: str


@dataclass(frozen=True, slots=True)
class _Stretch:
    begins: int
    ends: int
    x: float
    width: float
    cut: bool


class Axis:
    """The time from `begins` to `ends`. Gaps between work are cut if they would hide the work."""

    def __init__(self, begins: int, ends: int, work: Iterable[tuple[int, int]], origin: int) -> None:
        self.begins, self.ends = begins, max(ends, begins + 1)
        self.origin = origin
        self._stretches = _stretches(self.begins, self.ends, _gaps(self.begins, self.ends, work))
        self._starts = [stretch.begins for stretch in self._stretches]

    def x(self, at: int) -> float:
        """The position of a time, in percent. Times outside of the axis are at its ends."""
        at = min(max(at, self.begins), self.ends)
        stretch = self._stretches[max(bisect_right(self._starts, at) - 1, 0)]
        return round(stretch.x + stretch.width * (at - stretch.begins) / (stretch.ends - stretch.begins), 3)

    @property
    def breaks(self) -> list[Break]:
        """The stretches that were cut short."""
        made: list[Break] = []
        last = -_APART
        for stretch in self._stretches:
            if stretch.cut:
                length, middle = span(stretch.ends - stretch.begins), stretch.x + stretch.width / 2
                shown = middle - last >= _BREAKS_APART
                made.append(Break(round(stretch.x, 3), round(stretch.width, 3), length if shown else "", length))
                last = middle if shown else last
        return made

    @property
    def ticks(self) -> list[Tick]:
        """Lines at round times, outside of the cut stretches."""
        made: list[Tick] = []
        last = -_APART
        for tick in self._lines():
            shown = tick.x - last >= _APART and tick.x <= 100 - _APART / 2
            made.append(tick if shown else Tick(tick.x, ""))
            last = tick.x if shown else last
        return made[:_MOST_TICKS]

    def _lines(self) -> Iterator[Tick]:
        for stretch in self._stretches:
            if stretch.cut:
                continue
            step = _step((stretch.ends - stretch.begins) * _APART / stretch.width)
            first = -(-(stretch.begins - self.origin) // step)
            last = (stretch.ends - self.origin) // step
            for count in range(first, min(last, first + _MOST_TICKS) + 1):
                at = self.origin + count * step
                yield Tick(self.x(at), _offset(count * step, step))


def _step(least: float) -> int:
    return next((step for step in _NICE if step >= least), _NICE[-1] * max(int(least // _NICE[-1]), 1))


def _offset(at: int, step: int) -> str:
    """A time since the origin, as precisely as the steps need it; of a long one, its last two units."""
    if at == 0:
        return "0"
    sign, rest = ("−" if at < 0 else "+"), abs(at)
    if step < _SECOND and rest < _SECOND:
        return f"{sign}{rest / 1000:g} ms"
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        count, rest = divmod(rest, size * _SECOND)
        if count:
            parts.append(f"{count} {name}")
    if rest or not parts:
        parts.append(f"{rest / _SECOND:g} s")
    return sign + ("… " if len(parts) > _SHOWN_UNITS else "") + " ".join(parts[-_SHOWN_UNITS:])


def _gaps(begins: int, ends: int, work: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The times between work. An instant of work is a pair of equal times."""
    gaps: list[tuple[int, int]] = []
    at = begins
    for begin, end in sorted((min(max(begin, begins), ends), min(end, ends)) for begin, end in work):
        if begin > at:
            gaps.append((at, begin))
        at = max(at, end)
    return [*gaps, (at, ends)] if at < ends else gaps


def _stretches(begins: int, ends: int, gaps: list[tuple[int, int]]) -> list[_Stretch]:
    cut = sorted(_worth_cutting(ends - begins, gaps))
    width = min(_WIDEST_BREAK, _BREAKS_SHARE / len(cut)) if cut else 0.0
    left = (ends - begins) - sum(end - begin for begin, end in cut)
    scale = (100 - width * len(cut)) / left
    made: list[_Stretch] = []
    x = 0.0
    edges = sorted({begins, ends, *(edge for gap in cut for edge in gap)})
    for begin, end in pairwise(edges):
        is_cut = (begin, end) in cut
        wide = width if is_cut else (end - begin) * scale
        made.append(_Stretch(begin, end, x, wide, is_cut))
        x += wide
    return made


def _worth_cutting(total: int, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest gaps, until the work takes up enough of the rest."""
    work = total - sum(end - begin for begin, end in gaps)
    cut: list[tuple[int, int]] = []
    for gap in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
        length = gap[1] - gap[0]
        enough = work >= _ENOUGH_WORK * total or length < _LEAST_BREAK * total
        if enough or len(cut) >= _MOST_BREAKS or total - length < 1:
            break
        cut.append(gap)
        total -= length
    return cut

"""Rollups for the overview: all instances by workflow, status and time of their start, counted slice by slice.

A count walks the order of pages, from the newest instance to the oldest, one slice at a time and only while an overview
is open. The time of a start does not change, so no instance is counted twice, whatever happens to it meanwhile. The
numbers stay in the memory of the process: nothing is written, and no start or end of an instance costs more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.dashboard._ranges import RANGES
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.status import Status
    from romancy.storage.figures import Slice
    from romancy.storage.protocol import Store
    from romancy.storage.query import Position

__all__ = ["Rollup", "Rollups"]

_SECOND: Final = 1_000_000
_BETWEEN: Final = 9.0
"""Seconds between two slices: a little less than between two looks for open overviews."""
_REST: Final = 60.0
"""Seconds between the end of a count and the next one."""
_HOLDS: Final = 3600 * _SECOND
"""The seconds for which a count is shown, with its time."""
_PATIENCE: Final = 300.0
"""A count that was not continued for so many seconds starts again."""
_FIRST: Final = 10_000
_LARGEST: Final = 500_000
_LEAST: Final = 1_000
_QUICK: Final = 0.1
_SLOW: Final = 0.25
_EVER: Final = 1 << 60
"""A span that holds all times."""


class Rollup(NamedTuple):
    """A count that is complete."""

    since: int
    """The database time (µs) before its first slice was read."""
    until: int
    """The database time (µs) after its last slice was read."""
    statuses: dict[Status, int]
    workflows: dict[tuple[str, Status], int]
    spans: dict[tuple[str, Status, int, int], int]
    """By workflow, status, and the width and the number of the span: the ranges of the overview, and `_EVER`."""

    @property
    def total(self) -> int:
        """How many instances there were."""
        return sum(self.statuses.values())

    def over(self, since: int, width: int) -> dict[tuple[str, Status, int], int]:
        """The instances started since a time, by workflow, status and column, for a range of the overview."""
        found: Counter[tuple[str, Status, int]] = Counter()
        for (name, status, wide, span), number in self.spans.items():
            if span * wide >= since:
                found[name, status, (span * wide - since) // width] += number
        return found


class Rollups:
    """The counts of one dashboard. Its one poller asks for slices, and pages look at the newest complete count."""

    def __init__(self, *, between: float = _BETWEEN, rest: float = _REST, first: int = _FIRST) -> None:
        self.newest: Rollup | None = None
        self._between = between
        self._rest = rest
        self._size = first
        self._least = min(first, _LEAST)
        self._due = 0.0
        self._left = 0.0
        self._walk: _Walk | None = None
        self._counting = asyncio.Lock()

    async def go_on(self, store: Store, now: int, asked: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count one slice, if one is due. `now` is the database's time, for which it was asked at `asked`.

        A slice that fails is counted again at the next look.
        """
        if self._counting.locked() or clock() < self._due or Service.FIGURES not in store.services.offered:
            return
        async with self._counting:
            began, self._due = clock(), clock() + self._between
            if self._walk is None or began > self._left + _PATIENCE:
                self._walk = _Walk(now)
            walk, width = self._walk, self._walk.width(now)
            part = await store.services.figures.tally_slice(after=walk.after, count=self._size, width=width)
            walk.take(part, width, now)
            self._left = clock()
            if part.end is None:
                self.newest, self._walk = walk.rollup(now + int((self._left - asked) * _SECOND)), None
                self._due = self._left + self._rest
            self._size = _next_size(self._size, self._left - began, self._least)

    def known(self, now: int) -> Rollup | None:
        """The newest complete count, unless it is too old to be shown."""
        return self.newest if self.newest is not None and self.newest.until >= now - _HOLDS else None

    def forget(self) -> None:
        """Start again: the database may be another one."""
        self.newest, self._walk, self._due = None, None, 0.0


class _Walk:
    """A count under way."""

    def __init__(self, now: int) -> None:
        self.since = now
        self.after: Position | None = None
        self._spans: Counter[tuple[str, Status, int, int]] = Counter()

    def width(self, now: int) -> int:
        """The width of the spans that the next slice needs: ages only grow within it."""
        return _width_at(now if self.after is None else self.after.created_at, now)

    def take(self, part: Slice, width: int, now: int) -> None:
        """Add a slice. Old instances are counted in wide spans, so that there are few of them."""
        self.after = part.end
        for (name, status, span), number in part.counts.items():
            wide = max(width, _width_at(span * width, now))
            self._spans[name, status, wide, span * width // wide] += number

    def rollup(self, until: int) -> Rollup:
        statuses: Counter[Status] = Counter()
        workflows: Counter[tuple[str, Status]] = Counter()
        for (name, status, _, _), number in self._spans.items():
            statuses[status] += number
            workflows[name, status] += number
        return Rollup(self.since, until, dict(statuses), dict(workflows), dict(self._spans))


def _width_at(at: int, now: int) -> int:
    """The width, in microseconds, of the finest columns in which this time is shown now or later."""
    for _, seconds, count in RANGES.values():
        width = seconds * _SECOND
        if at >= (now // width - count + 1) * width:
            return width
    return _EVER


def _next_size(size: int, took: float, least: int) -> int:
    if took < _QUICK:
        return min(2 * size, _LARGEST)
    return max(size // 2, least) if took > _SLOW else size

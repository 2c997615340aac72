"""Reading a part of a log, so that a page costs the same for ten events as for a hundred thousand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from romancy.core import LogEvent
from romancy.log import commits_of, dated
from romancy.storage.records import InstanceRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.insight import Place
    from romancy.storage.protocol import Store

__all__ = ["COMMITS", "Commit", "Window", "near_the_end", "read_window"]

COMMITS: Final = 1000
"""How many commits one statement reads at most."""
_NEAR: Final = 100
_FASTER: Final = 4
_TOGETHER: Final = 3
_FAR: Final = 1 << 62
"""No log is so long."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The events that were written at once."""

    seq: int
    at: int
    """When it was committed, by the database's clock."""
    events: list[LogEvent]


@dataclass
class Window:
    """Successive commits of an instance's log."""

    row: InstanceRow
    after: int
    """The commit before the first."""
    more: bool = False
    """Whether commits follow."""
    commits: list[Commit] = field(default_factory=list["Commit"])

    @property
    def zero(self) -> int:
        """The time from which a page counts: of the first commit. The row may be some milliseconds younger."""
        return min([self.row.created_at, *(commit.at for commit in self.commits[:1])])

    @property
    def last(self) -> int:
        """The last commit that was read."""
        return self.commits[-1].seq if self.commits else self.after

    @property
    def begins(self) -> int:
        """The first commit that was read."""
        return self.commits[0].seq if self.commits else self.after + 1

    def events(self) -> Iterator[tuple[Place, LogEvent, int]]:
        """Each event with its place, and with the time of its commit."""
        for commit in self.commits:
            for index, event in enumerate(commit.events):
                yield (commit.seq, index), event, commit.at


async def read_window(
    store: Store, instance_id: str, after: int, *, reads: int = 1, until: int | None = None, limit: int = COMMITS
) -> Window | None:
    """The commits after `after`, by at most so many statements, up to the commit `until` if that is given.

    None: there is no such instance.

    Raises HistoryCorruptError and HistoryVersionError for unreadable rows, and CodecError for sealed ones.
    """
    window: Window | None = None
    for _ in range(reads):
        behind = after if window is None else window.last
        page = await store.read(instance_id, after=behind, limit=limit)
        if page is None:
            return None
        if window is None or page.instance.life != window.row.life:
            window = Window(page.instance, behind)
        window.row, window.more = page.instance, page.more
        window.commits += [
            Commit(row.seq, row.at, [dated(event, row.at) for event in events])
            for row, events in commits_of(page, behind)
        ]
        if not page.more or (until is not None and window.last >= until):
            break
    return window


async def near_the_end(store: Store, row: InstanceRow) -> int:
    """A commit that exists and is among the last hundred or so of the log.

    The row of an instance at work does not say how long its log is. Statements look for single commits, some at a time,
    and their number grows as the logarithm of the length: none but the first is needed for an instance that rests.
    """
    low, high, ahead = row.last_seq, _FAR, [_NEAR]
    while high == _FAR:
        low, high = await _narrowed(store, row, low, high, [low + one for one in ahead])
        ahead = [ahead[-1] * _FASTER**number for number in range(1, _TOGETHER + 1)]
    while high - low > _NEAR:
        part = (high - low) // (_TOGETHER + 1)
        places = [low + part * number for number in range(1, _TOGETHER + 1)]
        low, high = await _narrowed(store, row, low, high, places)
    return low


async def _narrowed(store: Store, row: InstanceRow, low: int, high: int, places: Sequence[int]) -> tuple[int, int]:
    """Look at these places, and return the last commit that was found, and a place behind the end."""
    found = await asyncio.gather(*(_at_or_behind(store, row, place) for place in places))
    for place, seq in zip(places, found, strict=True):
        if seq is None:
            return low, max(low, place)
        low = max(low, seq)
    return low, max(low, high)


async def _at_or_behind(store: Store, row: InstanceRow, seq: int) -> int | None:
    """The first commit from this one on, or None if the log ends before it."""
    page = await store.read(row.instance_id, after=seq - 1, limit=1)
    return page.rows[0].seq if page is not None and page.rows else None

"""The service for figures: counts for displays, in bounded time for any number of instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.storage.query import Position

__all__ = [
    "Count", "Figures", "Oldest", "OpenWork", "OpenWorkflow", "Pace", "Slice", "Trend", "open_work_from", "pace_from",
    "trend_from",
]  # fmt: skip


class Count(NamedTuple):
    """The number of instances, at most as many as were asked for, and when the oldest was started."""

    number: int
    oldest: int | None


class OpenWorkflow(NamedTuple):
    """The open instances of a workflow."""

    oldest: int
    """When the oldest of those that were counted was started: with `more`, there may be an older one."""
    name: str
    statuses: dict[Status, int]
    more: bool
    """Whether there may be more, also of statuses that are not here."""
    due: int = 0
    """How many of them wait for a worker."""

    @property
    def number(self) -> int:
        """How many there are of all statuses."""
        return sum(self.statuses.values())


class Oldest(NamedTuple):
    """A number of instances, and when the oldest was started."""

    number: int
    oldest: int
    due: int = 0
    """How many of them nobody owns although they are due: they wait for a worker."""


class OpenWork(NamedTuple):
    """The open instances by workflow, counted from the oldest on."""

    counts: dict[tuple[str, Status], Oldest]
    """The time of the oldest is exact for each workflow and status that is here."""
    more: frozenset[Status]
    """Statuses of which as many were counted as were asked for: there may be more, and all of them are newer."""

    def by_status(self) -> dict[Status, Oldest]:
        """The same of all workflows together."""
        found: dict[Status, Oldest] = {}
        for (_, status), (number, oldest, due) in self.counts.items():
            before = found.get(status, Oldest(0, oldest))
            found[status] = Oldest(before.number + number, min(before.oldest, oldest), before.due + due)
        return found

    def by_workflow(self) -> list[OpenWorkflow]:
        """The same of all statuses together, the workflow with the oldest instance first."""
        statuses: dict[str, dict[Status, int]] = {}
        oldest: dict[str, int] = {}
        waiting: dict[str, int] = {}
        for (name, status), (number, at, due) in sorted(self.counts.items()):
            statuses.setdefault(name, {})[status] = number
            oldest[name] = min(at, oldest.get(name, at))
            waiting[name] = waiting.get(name, 0) + due
        more = bool(self.more)  # of such a status, any workflow may have instances that were not counted
        found = [OpenWorkflow(oldest[one], one, own, more, waiting[one]) for one, own in statuses.items()]
        return sorted(found, key=lambda each: each[:2])


class Trend(NamedTuple):
    """How many instances were started in each of successive spans of time, as they stand now."""

    statuses: dict[tuple[Status, int], int]
    """By status and the number of the span."""
    whole_from: dict[Status, int]
    """For statuses that were not counted completely: the first span that was."""


class Pace(NamedTuple):
    """What has begun and ended since a time, in successive spans of it."""

    begun: dict[tuple[str, int], int]
    """By workflow and the number of the span."""
    ended: dict[tuple[str, Status, int], int]
    """By workflow, final status and the number of the span."""
    begun_from: int
    """All that have begun since this time are counted. It is later than what was asked for if too many have begun."""
    ended_from: int
    """The same of those that have ended."""


class Slice(NamedTuple):
    """Successive instances in the order of pages, counted."""

    counts: dict[tuple[str, Status, int], int]
    """By workflow, status and the number of the span since the epoch in which they were started."""
    end: Position | None
    """The last of them. None: no instance follows."""


class Figures(Protocol):
    """No call writes anything, and each reads a bounded part of an index. The engine does not use them."""

    async def tally(self, *, most: int) -> dict[Status, Count]:
        """Count up to `most` instances of each status. Statuses of no instance may be missing.

        It is one statement, which reads no more than that many entries of an index for each count.
        """
        ...

    async def newest(self, count: int, /, *, since: int, width: int) -> dict[tuple[str, Status, int], int]:
        """Count the newest `count` instances by workflow, status and the span of `width` µs in which they were started.

        The spans are numbered from 0 at `since`; instances that were started before it have the number -1.
        It is one statement, which reads that many entries of an index and their rows.
        """
        ...

    async def open_work(self, *, most: int, now: int) -> OpenWork:
        """Count the open instances by workflow and status: of each status the `most` that were started first.

        `now` is the time by which some of them are due.
        It is one statement, which reads that many entries of an index and their rows.
        """
        ...

    async def trend(self, *, since: int, width: int, most: int) -> Trend:
        """Count the instances started since a time, in spans of `width` microseconds: of each status the newest `most`.

        It is one statement, which reads no more entries of an index than that.
        """
        ...

    async def pace(self, *, since: int, width: int, most: int) -> Pace:
        """Count by workflow what has begun and what has ended since a time, in spans of `width` microseconds.

        The newest `most` of each are counted.
        It is one statement, which reads no more than that many entries of an index and their rows for each.
        """
        ...

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        """Count up to `count` instances behind a place, newest first, in spans of `width` microseconds.

        It is one statement, which reads that many entries of an index and their rows. Its counts are exact as of one
        moment. A slice of fewer than `count` instances is the last one.
        """
        ...

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        """How many instances each of these workers owns, up to `most`, by their tokens."""
        ...


def open_work_from(rows: Iterable[tuple[str, str, int, int, int]], most: int) -> OpenWork:
    """The open instances from lines of a workflow, a status, a number, the time of the oldest, and how many are due."""
    counts = {(name, Status(status)): Oldest(number, oldest, due) for name, status, number, oldest, due in rows}
    all_of_them = OpenWork(counts, frozenset()).by_status()
    return OpenWork(counts, frozenset(status for status, count in all_of_them.items() if count.number >= most))


def pace_from(rows: Iterable[tuple[str, str, str, int, int, int]], since: int, most: int) -> Pace:
    """The pace from lines of a kind, a workflow, a status, a span, a number, and the oldest time after `since`.

    What was looked at and is not to be counted has no kind of its own: its status is open, or its span negative.
    """
    begun: dict[tuple[str, int], int] = {}
    ended: dict[tuple[str, Status, int], int] = {}
    looked_at, oldest = {"begun": 0, "ended": 0}, dict[str, int]()
    for kind, name, status, span, number, at in rows:
        oldest[kind] = min(oldest.get(kind, at), at)
        looked_at[kind] += number
        if kind == "begun":
            begun[name, span] = number
        elif span >= 0 and Status(status) in TERMINAL_STATUSES:
            ended[name, Status(status), span] = number
    begun_from, ended_from = (since + (oldest[one] + 1 if looked_at[one] >= most else 0) for one in ("begun", "ended"))
    return Pace(begun, ended, begun_from, ended_from)


def trend_from(rows: Iterable[tuple[str, int, int]], most: int) -> Trend:
    """The trend from lines of a status, a span and a count."""
    statuses: dict[tuple[Status, int], int] = {}
    for status, span, count in rows:
        statuses[Status(status), span] = count
    whole_from: dict[Status, int] = {}
    for status in {status for status, _ in statuses}:
        own = {span: count for (one, span), count in statuses.items() if one is status}
        if sum(own.values()) >= most:
            whole_from[status] = min(own) + 1
    return Trend(statuses, whole_from)

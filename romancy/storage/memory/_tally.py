"""Counts the in-memory rows: the specification of `Tallying`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from romancy.status import TERMINAL_STATUSES
from romancy.storage.query import Position
from romancy.storage.tally import Count, OpenWork, Slice, Tally, Trend, open_work_from, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.status import Status
    from romancy.storage.memory._rows import Instance

__all__ = ["load_rows", "open_rows", "slice_rows", "tally_rows", "trend_rows"]


def tally_rows(rows: Iterable[Instance], most: int, newest: int) -> Tally:
    """As `Tallying` promises."""
    ordered = sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode()), reverse=True)
    by_status: defaultdict[Status, list[int]] = defaultdict(list)
    for row in ordered:
        by_status[row.status].append(row.created_at)
    by_workflow: defaultdict[tuple[str, Status], list[int]] = defaultdict(list)
    for row in ordered[:newest]:
        by_workflow[row.workflow_name, row.status].append(row.created_at)
    return Tally(
        {status: Count(min(len(times), most), min(times)) for status, times in by_status.items()},
        {key: Count(len(times), min(times)) for key, times in by_workflow.items()},
    )


def open_rows(rows: Iterable[Instance], most: int) -> OpenWork:
    """As `Figures.open_work` promises."""
    seen: Counter[Status] = Counter()
    by_workflow: defaultdict[tuple[str, Status], list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.created_at, row.instance_id.encode())):
        if row.status not in TERMINAL_STATUSES and seen[row.status] < most:
            seen[row.status] += 1
            by_workflow[row.workflow_name, row.status].append(row.created_at)
    return open_work_from([(*key, len(times), times[0]) for key, times in by_workflow.items()], most)


def trend_rows(rows: Iterable[Instance], since: int, width: int, most: int, newest: int) -> Trend:
    """As `Trending` promises."""
    ordered = sorted((row for row in rows if row.created_at >= since), key=lambda row: row.created_at, reverse=True)
    by_status: Counter[tuple[str, int]] = Counter()
    seen: Counter[str] = Counter()
    for row in ordered:
        if seen[row.status] < most:
            seen[row.status] += 1
            by_status[row.status, (row.created_at - since) // width] += 1
    by_workflow = Counter(
        (row.workflow_name, row.status, (row.created_at - since) // width) for row in ordered[:newest]
    )
    return spans(
        [(*key, count) for key, count in by_status.items()],
        [(name, status.value, span, count) for (name, status, span), count in by_workflow.items()],
        most,
    )


def load_rows(rows: Iterable[Instance], workers: Sequence[str], most: int) -> dict[str, int]:
    """As `Loads` promises."""
    owned = Counter(row.owner for row in rows)
    return {worker: min(owned[worker], most) for worker in workers}


def slice_rows(rows: Iterable[Instance], after: Position | None, count: int, width: int) -> Slice:
    """As `Slicing` promises."""
    ordered = sorted(((row.created_at, row.instance_id.encode(), row) for row in rows), reverse=True)
    if after is not None:
        ordered = [one for one in ordered if one[:2] < (after.created_at, after.instance_id.encode())]
    part = ordered[:count]
    end = Position(part[-1][0], part[-1][2].instance_id) if len(part) == count else None
    return Slice(dict(Counter((row.workflow_name, row.status, at // width) for at, _, row in part)), end)

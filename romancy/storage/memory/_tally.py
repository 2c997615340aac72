"""Counts of the in-memory rows: the meaning of `Tallying`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from romancy.storage.tally import Count, Tally, Trend, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.status import Status
    from romancy.storage.memory._rows import Instance

__all__ = ["load_rows", "tally_rows", "trend_rows"]


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

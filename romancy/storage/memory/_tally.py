"""Counts of the in-memory rows: the meaning of `Tallying`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from romancy.storage.tally import Count, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.status import Status
    from romancy.storage.memory._rows import Instance

__all__ = ["tally_rows"]


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

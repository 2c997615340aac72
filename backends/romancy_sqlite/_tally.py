"""Counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.status import Status
from romancy.storage.query import Position
from romancy.storage.tally import Count, Slice, Tally, Trend, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_sqlite._connection import Tx

__all__ = ["loads", "tally", "tally_slice", "trend"]

_NEWEST: Final = 2**63 - 1


def tally(tx: Tx, most: int, newest: int) -> Tally:
    """As `Tallying` promises."""
    counted = {status: tx.row("tally_status", {"status": status.value, "most": most}) for status in Status}
    return Tally(
        {status: Count(row[0], row[1]) for status, row in counted.items() if row is not None and row[0]},
        {(row[0], Status(row[1])): Count(row[2], row[3]) for row in tx.rows("tally_newest", (newest,))},
    )


def trend(tx: Tx, since: int, width: int, most: int, newest: int) -> Trend:
    """As `Trending` promises."""
    given = {"since": since, "width": width, "most": most}
    by_status = [
        (status.value, span, count)
        for status in Status
        for span, count in tx.rows("trend_status", {**given, "status": status.value})
    ]
    by_workflow = tx.rows("trend_newest", {"since": since, "width": width, "newest": newest})
    return spans(by_status, [(row[0], row[1], row[2], row[3]) for row in by_workflow], most)


def loads(tx: Tx, workers: Sequence[str], most: int) -> dict[str, int]:
    """As `Loads` promises."""
    return {worker: tx.rows("load", {"owner": worker, "most": most})[0][0] for worker in workers}


def tally_slice(tx: Tx, after: Position | None, count: int, width: int) -> Slice:
    """As `Slicing` promises."""
    at, instance_id = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
    rows = tx.rows("tally_slice", {"at": at, "id": instance_id, "count": count, "width": width})
    counts = {(name, Status(status), span): number for name, status, span, number in rows}
    last = tx.row("place_behind", (at, instance_id, count - 1)) if sum(counts.values()) == count else None
    return Slice(counts, None if last is None else Position(last[0], last[1]))

"""Counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.tally import Count, Tally

if TYPE_CHECKING:
    from romancy_sqlite._connection import Tx

__all__ = ["tally"]


def tally(tx: Tx, most: int, newest: int) -> Tally:
    """As `Tallying` promises."""
    counted = {status: tx.row("tally_status", (status.value, most)) for status in Status}
    return Tally(
        {status: Count(row[0], row[1]) for status, row in counted.items() if row is not None and row[0]},
        {(row[0], Status(row[1])): Count(row[2], row[3]) for row in tx.rows("tally_newest", (newest,))},
    )

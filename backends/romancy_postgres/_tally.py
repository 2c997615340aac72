"""Counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.tally import Count, Tally

if TYPE_CHECKING:
    from romancy_postgres._database import Database

__all__ = ["tally"]


async def tally(database: Database, most: int, newest: int) -> Tally:
    """As `Tallying` promises."""
    rows = await database.fetch("tally", [status.value for status in Status], most, newest)
    return Tally(
        {Status(status): Count(count, oldest) for name, status, count, oldest in rows if name is None},
        {(name, Status(status)): Count(count, oldest) for name, status, count, oldest in rows if name is not None},
    )

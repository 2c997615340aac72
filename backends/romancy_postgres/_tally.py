"""Counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.tally import Count, Tally, Trend, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_postgres._database import Database

__all__ = ["loads", "tally", "trend"]


async def tally(database: Database, most: int, newest: int) -> Tally:
    """As `Tallying` promises."""
    rows = await database.fetch("tally", [status.value for status in Status], most, newest)
    return Tally(
        {Status(status): Count(count, oldest) for name, status, count, oldest in rows if name is None},
        {(name, Status(status)): Count(count, oldest) for name, status, count, oldest in rows if name is not None},
    )


async def trend(database: Database, since: int, width: int, most: int, newest: int) -> Trend:
    """As `Trending` promises."""
    rows = await database.fetch("trend", [status.value for status in Status], since, width, most, newest)
    by_workflow = [(name, status, span, count) for name, status, span, count in rows if name is not None]
    return spans([(row[1], row[2], row[3]) for row in rows if row[0] is None], by_workflow, most)


async def loads(database: Database, workers: Sequence[str], most: int) -> dict[str, int]:
    """As `Loads` promises."""
    return {row[0]: row[1] for row in await database.fetch("loads", list(workers), most)}

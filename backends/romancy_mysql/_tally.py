"""Counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import Status
from romancy.storage.tally import Count, Tally

if TYPE_CHECKING:
    from romancy_mysql._database import Database

__all__ = ["tally"]


async def tally(database: Database, most: int, newest: int) -> Tally:
    """As `Tallying` promises, in one round trip."""
    by_workflow, *by_status = await database.ask(
        database.statement("tally_newest", newest=newest),
        *(database.statement("tally_status", status=status, most=most) for status in Status),
    )
    counted = {status: answer.rows[0] for status, answer in zip(Status, by_status, strict=True)}
    return Tally(
        {status: Count(int(count), int(oldest)) for status, (count, oldest) in counted.items() if oldest is not None},
        {
            (bytes(name).decode(), Status(bytes(status).decode())): Count(int(count), int(oldest))
            for name, status, count, oldest in by_workflow.rows
        },
    )

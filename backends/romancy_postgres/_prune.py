"""Removing what has ended, and the relay's side of the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.limits import can_be_id
from romancy.storage.records import OutboxRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import PruneRequest
    from romancy_postgres._database import Database

__all__ = ["PostgresOutbox", "prune"]

_KEYS_AT_ONCE = 5000


async def prune(database: Database, request: PruneRequest) -> int:
    """As `Store.prune` promises, with one statement for each kind of row, and dedupe keys in portions."""
    statuses = [status.value for status in request.statuses]
    named = [instance_id for instance_id in request.instance_ids if can_be_id(instance_id)]
    removed = 0
    if named:
        removed += await database.run("prune_named", statuses, named, request.limit, request.named_until)
    if request.ended_before is not None and removed < request.limit:
        removed += await database.run("prune_old", statuses, request.ended_before, request.limit - removed)
    await database.run("prune_runs", request.limit)
    await database.run("prune_workers")
    if (before := request.dedupe_before) is not None:
        while await database.run("prune_seen", before, _KEYS_AT_ONCE) == _KEYS_AT_ONCE:
            pass
    return removed


class PostgresOutbox:
    """As `Outbox` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, limit: int) -> list[OutboxRow]:
        rows = await self._database.fetch("outbox_read", limit)
        return [OutboxRow(outbox_id=row[0], topic=row[1], body=row[2]) for row in rows]

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        return await self._database.run("outbox_remove", list(filter(can_be_id, outbox_ids)))

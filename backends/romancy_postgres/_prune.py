"""Removing what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.limits import can_be_id

if TYPE_CHECKING:
    from romancy.storage.records import PruneRequest
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database

__all__ = ["prune", "remove"]

_KEYS_AT_ONCE = 5000


async def prune(database: Database, request: PruneRequest) -> int:
    """As `Upkeep.prune` promises, instances in a transaction of two statements, and dedupe keys in portions."""
    statuses = [status.value for status in request.statuses]
    named = [instance_id for instance_id in request.instance_ids if can_be_id(instance_id)]
    removed = 0
    if named:
        removed += await _remove(database, "prune_named", statuses, named, request.limit, request.named_until)
    if request.ended_before is not None and removed < request.limit:
        removed += await _remove(database, "prune_old", statuses, request.ended_before, request.limit - removed)
    await database.run("prune_runs", request.limit)
    await database.run("prune_workers")
    if (before := request.dedupe_before) is not None:
        while await database.run("prune_seen", before, _KEYS_AT_ONCE) == _KEYS_AT_ONCE:
            pass
    return removed


async def _remove(database: Database, choose: str, *arguments: object) -> int:
    async def both(link: Link) -> int:
        return await remove(link, choose, *arguments)

    return await database.transaction(both)


async def remove(link: Link, choose: str, *arguments: object) -> int:
    """Remove the instances that the query of that name chooses and locks, in the open transaction."""
    chosen = [row[0] for row in await link.fetch(choose, *arguments)]
    return await link.run("remove", chosen) if chosen else 0

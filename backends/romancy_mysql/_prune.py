"""Removing what has ended: an instance with all data under its id, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import TERMINAL_STATUSES
from romancy.storage.limits import can_be_id
from romancy_mysql._sql import Statement, comma, source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.records import PruneRequest
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database

__all__ = ["prune", "removal"]

_RUNS_AT_ONCE = 200
_SILENT = 3_600_000_000
_KEYS_AT_ONCE = 5000


async def prune(database: Database, request: PruneRequest) -> int:
    """As `Upkeep.prune` promises. What another transaction holds is left for the next call."""
    removed = await database.insist(lambda wire: _instances(database, wire, request))
    await _former_runs(database)
    await _forgotten_keys(database, request.dedupe_before)
    await _dead_workers(database)
    return removed


async def _instances(database: Database, wire: Wire, request: PruneRequest) -> int:
    statuses = sorted(set(request.statuses) & TERMINAL_STATUSES)
    looks: list[Statement] = []
    if named := sorted(filter(can_be_id, request.instance_ids)):
        ids = comma(named)
        ended = comma(statuses or [None])
        until = request.named_until
        looks.append(database.statement("find_named", ids=ids, statuses=ended, until=until, limit=request.limit))
    if request.ended_before is not None:
        before = request.ended_before
        looks += [
            database.statement("find_old", before=before, status=status, limit=request.limit) for status in statuses
        ]
    if not looks:
        return 0
    wire.tainted = True
    found = (await database.send(wire, [database.begin, *looks]))[-len(looks) :]
    doomed = list(dict.fromkeys(line[0] for answer in found for line in answer.rows))[: request.limit]
    if not doomed:
        await database.roll_back(wire)
        return 0
    await database.send(wire, [*removal(database, doomed), Statement("commit", database.end)])
    wire.tainted = False
    return len(doomed)


def removal(database: Database, instance_ids: Iterable[str]) -> list[Statement]:
    """Statements that remove these instances, whose rows the caller holds, with all data under their ids.

    Messages that they have taken and not consumed are kept at their addresses again.
    """
    ids = comma(sorted(instance_ids))
    routing = ("prune_interests", "hold_taken", "return_taken")
    names = (*routing, "prune_log", "prune_inbox", "prune_uncounted", "drop_index", "prune_instances")
    return [database.statement(name, ids=ids) for name in names]


async def _dead_workers(database: Database) -> None:
    (found,) = await database.ask(database.statement("find_dead_workers", age=_SILENT))
    if found.rows:
        await database.ask(database.statement("prune_workers", ids=comma(line[0] for line in found.rows)))


async def _former_runs(database: Database) -> None:
    while True:
        (found,) = await database.ask(database.statement("find_former_runs", limit=_RUNS_AT_ONCE))
        if found.rows:
            parameters = source(("instance_id", "life", "run_from"), sorted(found.rows))
            await database.ask(database["prune_former_runs"].statement(parameters))
        if len(found.rows) < _RUNS_AT_ONCE:
            return


async def _forgotten_keys(database: Database, before: int | None) -> None:
    while before is not None:
        (answer,) = await database.ask(database.statement("prune_seen", before=before, limit=_KEYS_AT_ONCE))
        if answer.affected < _KEYS_AT_ONCE:
            return

"""Removes what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy.status import TERMINAL_STATUSES
from romancy.storage.limits import can_be_id
from romancy_sqlite._routes import remove_routing

if TYPE_CHECKING:
    from collections.abc import Collection

    from romancy.status import Status
    from romancy.storage.records import PruneRequest
    from romancy_sqlite._connection import Tx

__all__ = ["KEYS_AT_ONCE", "clear", "forget_keys", "prune"]

KEYS_AT_ONCE = 1000


def prune(tx: Tx, request: PruneRequest) -> int:
    """Remove ended instances with all data under their ids, finished runs, and dead workers without instances."""
    doomed = _doomed(tx, request)
    _remove(tx, doomed)
    continued = tx.rows("continued", (request.limit,))
    tx.many("prune_runs", continued)
    tx.many("pruned_runs", continued)
    tx.run("prune_workers")
    return len(doomed)


def clear(tx: Tx, instance_id: str, life: int, statuses: Collection[Status]) -> bool:
    """Remove an ended instance of this life and one of these statuses, with all data under its id."""
    if not can_be_id(instance_id):
        return False
    found = tx.row("status_of_life", (instance_id, life))
    if found is None or found[0] not in TERMINAL_STATUSES.intersection(statuses):
        return False
    _remove(tx, [(instance_id,)])
    return True


def _remove(tx: Tx, doomed: list[tuple[str]]) -> None:
    remove_routing(tx, doomed)
    for name in ("prune_log", "prune_instance", "prune_inbox", "prune_index"):
        tx.many(name, doomed)


def forget_keys(tx: Tx, before: int) -> bool:
    """Forget some old dedupe keys and return whether there may be more. One call must not hold the writer long."""
    return tx.run("prune_seen", (before, KEYS_AT_ONCE)) == KEYS_AT_ONCE


def _doomed(tx: Tx, request: PruneRequest) -> list[tuple[str]]:
    statuses = msgspec.json.encode(request.statuses).decode()
    named = msgspec.json.encode([one for one in request.instance_ids if can_be_id(one)]).decode()
    chosen = {"statuses": statuses, "named": named, "until": request.named_until, "limit": request.limit}
    found = tx.rows("prunable_named", chosen)
    if request.ended_before is not None:
        old = {"statuses": statuses, "ended_before": request.ended_before, "limit": request.limit}
        found += tx.rows("prunable_old", old)
    return [(instance_id,) for instance_id in list(dict.fromkeys(row[0] for row in found))[: request.limit]]

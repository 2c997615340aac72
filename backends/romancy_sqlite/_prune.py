"""Forgetting what is over, and the relay's side of the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from romancy.storage.records import OutboxRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import PruneRequest
    from romancy_sqlite._connection import Tx

__all__ = ["prune", "read_outbox", "remove_outbox"]


def prune(tx: Tx, request: PruneRequest) -> int:
    """Remove ended instances with everything that bears their id, and what else nobody will ask for again."""
    doomed = [
        (row[0],)
        for row in tx.rows(
            "prunable",
            {
                "statuses": msgspec.json.encode(request.statuses).decode(),
                "named": msgspec.json.encode(request.instance_ids).decode(),
                "ended_before": request.ended_before,
                "limit": request.limit,
            },
        )
    ]
    for name in ("prune_log", "prune_instance", "prune_inbox", "prune_index"):
        tx.many(name, doomed)
    tx.many("prune_runs", tx.rows("continued"))
    if request.dedupe_before is not None:
        tx.run("prune_seen", (request.dedupe_before,))
    tx.run("prune_workers")
    return len(doomed)


def read_outbox(tx: Tx, limit: int) -> list[OutboxRow]:
    """The oldest rows; a sender commits its rows in order, so none can appear behind one that was read."""
    return [OutboxRow(outbox_id=row[0], topic=row[1], body=row[2]) for row in tx.rows("outbox_page", (limit,))]


def remove_outbox(tx: Tx, outbox_ids: Sequence[str]) -> int:
    """Forget rows; how many were still there."""
    return tx.many("outbox_remove", [(outbox_id,) for outbox_id in outbox_ids])

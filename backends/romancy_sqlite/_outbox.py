"""Messages for the outside, inserted inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.outbox import OUTBOX_NEWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.outbox import OutboxRow
    from romancy_sqlite._connection import Tx

__all__ = ["queue_outgoing"]


def queue_outgoing(tx: Tx, rows: Iterable[OutboxRow]) -> None:
    """Insert messages. Relays are told after the commit."""
    times = (tx.now,) * 3
    sent = [(row.outbox_id, row.topic, row.body, row.key, row.instance_id, *times) for row in rows]
    tx.many("outbox_insert", sent)
    tx.touched.add(OUTBOX_NEWS)

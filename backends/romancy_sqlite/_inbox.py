"""Deliveries: a row in the inbox, a count in the instance's row, and a key that identifies a repeated copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import Delivered
from romancy.storage.verdicts import on_delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Delivery
    from romancy_sqlite._connection import Tx

__all__ = ["deliver_all", "deliver_one"]


def deliver_all(tx: Tx, batch: Sequence[Delivery]) -> list[Delivered]:
    """Deliver each message in turn, so that a second copy in the same batch meets the first."""
    return [deliver_one(tx, delivery) for delivery in batch]


def deliver_one(tx: Tx, delivery: Delivery) -> Delivered:
    """Put one message into its inbox and make its instance due. The write lock makes this one step for others."""
    ((status, known),) = tx.rows("delivery_facts", (delivery.dedupe, delivery.instance_id))
    verdict = on_delivery(status, known=bool(known))
    if verdict is not None:
        return verdict
    row = {"instance_id": delivery.instance_id, "delivery_id": delivery.delivery_id, "body": delivery.body}
    if tx.run("inbox_insert", {**row, "now": tx.now}) == 0:
        return Delivered.DUPLICATE
    if delivery.dedupe is not None:
        tx.run("see_inside", {"instance_id": delivery.instance_id, "dedupe": delivery.dedupe, "now": tx.now})
    tx.run("signal", (tx.now, delivery.instance_id))
    tx.touched.add(delivery.instance_id)
    return Delivered.ACCEPTED

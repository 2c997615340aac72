"""What a sweep of the routing looks for: what a crash has left undone, and what ended instances have left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from romancy_sqlite._connection import Tx

__all__ = ["overdue", "tidy"]

_ADDRESSES_OF_A_SWEEP = 10_000


def overdue(tx: Tx, limit: int) -> tuple[list[str], bool]:
    """All addresses that have something to route, and whether something has to be tidied up."""
    addresses = [row[0] for row in tx.rows("route_work", (_ADDRESSES_OF_A_SWEEP,))]
    untidy = tx.row("route_lost", (limit,)) or tx.row("route_over", (limit,))
    return addresses, untidy is not None


def tidy(tx: Tx, limit: int) -> set[str]:
    """Give back what ended or missing instances never consumed, and remove their interests; return where."""
    tx.run("drop_interests", {"interests": _json(tx.rows("route_over", (limit,)))})
    lost = tx.rows("route_lost", (limit,))
    mail = {"mail": _json([row[:2] for row in lost])}
    tx.run("return_mail", mail)
    tx.run("drop_mail", mail)
    return {address for _, _, address in lost}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

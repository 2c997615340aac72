"""Reading one instance and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import History, LogRow
from romancy.storage.sqlkit.reading import instance_of

if TYPE_CHECKING:
    from romancy_sqlite._connection import Tx

__all__ = ["read_history"]

_PAGE_BYTES = 4 * 1024 * 1024


def read_history(tx: Tx, instance_id: str, after: int, limit: int) -> History | None:
    """The instance's row and a page of its log, from the same snapshot."""
    found = tx.row("instance", (instance_id,))
    if found is None:
        return None
    instance = instance_of(found)
    if limit <= 0:
        return History(instance=instance, rows=[])
    rows: list[LogRow] = []
    size = 0
    page = {"instance_id": instance_id, "life": instance.life, "after": after, "limit": limit + 1}
    for seq, writer, body, at in tx.rows("log_of_life", page):
        if len(rows) == limit or (rows and size + len(body) > _PAGE_BYTES):
            return History(instance=instance, rows=rows, more=True)
        rows.append(LogRow(seq, writer, body, at))
        size += len(body)
    return History(instance=instance, rows=rows)

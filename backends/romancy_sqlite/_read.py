"""Reading one instance and its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.records import History, InstanceRow, LogRow

if TYPE_CHECKING:
    from romancy_sqlite._connection import Tx

__all__ = ["instance_row", "read_history"]

_PAGE_BYTES = 4 * 1024 * 1024


def read_history(tx: Tx, instance_id: str, after: int, limit: int) -> History | None:
    """The instance's row and a page of its log, from the same snapshot."""
    found = tx.row("instance", (instance_id,))
    if found is None:
        return None
    instance = instance_row(found)
    if limit <= 0:
        return History(instance=instance, rows=[])
    rows: list[LogRow] = []
    size = 0
    for seq, writer, body, at in tx.rows("log_page", (instance_id, instance.life, after, limit + 1)):
        if len(rows) == limit or (rows and size + len(body) > _PAGE_BYTES):
            return History(instance=instance, rows=rows, more=True)
        rows.append(LogRow(seq, writer, body, at))
        size += len(body)
    return History(instance=instance, rows=rows)


def instance_row(row: tuple[Any, ...]) -> InstanceRow:
    """An instance from the columns that the queries `instance` and `find…` select."""
    return InstanceRow(
        instance_id=row[0],
        life=row[1],
        workflow_name=row[2],
        status=Status(row[3]),
        code=row[4],
        created_at=row[5],
        updated_at=row[6],
        input=row[7],
        owner=row[8],
        wake_at=row[9],
        error=row[10],
        parent=row[11],
        run_from=row[12],
        last_seq=row[13],
        signals=row[14],
        seen=row[15],
    )

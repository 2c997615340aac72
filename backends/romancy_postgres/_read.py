"""Reading an instance and its log, and turning the server's rows into records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.limits import can_be_id
from romancy.storage.records import History, InstanceRow, LogRow
from romancy_postgres._columns import error_text

if TYPE_CHECKING:
    import asyncpg

    from romancy_postgres._database import Database

__all__ = ["instance_row", "read_history"]

_PAGE_BYTES = 4 * 1024 * 1024
_PLAIN_FIELDS = tuple(name for name in InstanceRow.__struct_fields__ if name not in ("status", "error"))


async def read_history(database: Database, instance_id: str, after: int, limit: int) -> History | None:
    """As `Store.read` promises. One statement, so that the row and the log are of one snapshot."""
    if not can_be_id(instance_id):
        database.check_open()
        return None
    rows = await database.fetch("read", instance_id, after, limit, _PAGE_BYTES)
    if not rows:
        return None
    row = rows[0]
    columns = (row["seqs"] or (), row["writers"] or (), row["bodies"] or (), row["ats"] or ())
    entries = [LogRow(*entry) for entry in zip(*columns, strict=True)]
    return History(instance=instance_row(row), rows=entries, more=limit > 0 and bool(row["more"]))


def instance_row(row: asyncpg.Record) -> InstanceRow:
    """An instance as queries see it."""
    fields: dict[str, Any] = {name: row[name] for name in _PLAIN_FIELDS}
    return InstanceRow(**fields, status=Status(row["status"]), error=error_text(row["error"]))

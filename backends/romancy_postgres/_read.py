"""Reading an instance and its log, and turning the server's rows into records."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from romancy.status import Status
from romancy.storage.limits import can_be_id
from romancy.storage.records import History, InstanceRow, LogRow
from romancy_postgres._columns import error_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from romancy_postgres._database import Database

__all__ = ["instance_row", "read_history"]

_PAGE_BYTES = 4 * 1024 * 1024
_PLAIN_FIELDS = tuple(name for name in InstanceRow.__struct_fields__ if name not in ("status", "error"))
_PLAIN = cast("Callable[[asyncpg.Record], tuple[Any, ...]]", itemgetter(*_PLAIN_FIELDS))


async def read_history(database: Database, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
    """As `Store.read` promises. One statement, so that the row and the log are of one snapshot."""
    if not can_be_id(instance_id):
        database.check_open()
        return None
    rows = await database.fetch("read", instance_id, after, limit, _PAGE_BYTES)
    if not rows:
        return None
    row = rows[0]
    columns = (row["seqs"] or (), row["writers"] or (), row["bodies"] or (), row["ats"] or ())
    entries = list(map(LogRow, *columns))
    return History(instance=instance_row(row), rows=entries, more=limit > 0 and bool(row["more"]))


def instance_row(row: asyncpg.Record) -> InstanceRow:
    """An instance as queries see it."""
    fields: dict[str, Any] = dict(zip(_PLAIN_FIELDS, _PLAIN(row), strict=True))
    return InstanceRow(**fields, status=Status(row["status"]), error=error_text(row["error"]))

"""Turns the server's answers into instance rows and histories of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.storage.limits import can_be_id
from romancy.storage.records import History, InstanceRow, LogRow
from romancy.storage.sqlkit.reading import instance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_mysql._database import Database
    from romancy_mysql._sql import Raw

__all__ = ["columns", "instance_row", "read"]

_INPUT = InstanceRow.__struct_fields__.index("input")
_PAGE_BYTES = 4 * 1024 * 1024


def columns(database: Database) -> Raw:
    """The columns of `romancy_instances i` for `instance_row`."""
    return database["instance_columns"].render()


def instance_row(line: Sequence[Any]) -> InstanceRow:
    """The record for one line of those columns. The input stays as it is; the other bytes are texts."""
    texts = (one.decode() if isinstance(one, bytes) and place != _INPUT else one for place, one in enumerate(line))
    return instance_of(list(texts))


async def read(database: Database, instance_id: str, after: int, limit: int) -> History | None:
    """The instance and a page of its log, from one snapshot."""
    database.check_open()
    if not can_be_id(instance_id):
        return None
    look = database.statement("read_instance", columns=columns(database), instance_id=instance_id)
    if limit <= 0:
        (instance,) = await database.ask(look)
        return History(instance=instance_row(instance.rows[0]), rows=[]) if instance.rows else None
    _, _, instance, page, *_ = await database.ask(
        database.statement("one_moment"),
        database.statement("begin_moment"),
        look,
        database.statement("read_log", instance_id=instance_id, after=after, limit=limit + 1, bytes=_PAGE_BYTES),
        database.statement("end_moment"),
    )
    if not instance.rows:
        return None
    rows = [LogRow(seq, writer.decode(), body, at) for seq, writer, body, at, _ in page.rows[:limit]]
    found = page.rows[0][4] if rows else 0
    return History(instance=instance_row(instance.rows[0]), rows=rows, more=found > len(rows))

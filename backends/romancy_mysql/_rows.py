"""Turns the server's answers into instance rows and histories of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.limits import can_be_id
from romancy.storage.records import History, InstanceRow, LogRow

if TYPE_CHECKING:
    from romancy_mysql._database import Database
    from romancy_mysql._sql import Raw

__all__ = ["columns", "instance_row", "read"]

_PAGE_BYTES = 4 * 1024 * 1024


def columns(database: Database) -> Raw:
    """The columns of `romancy_instances i` for `instance_row`."""
    return database["instance_columns"].render()


def instance_row(line: tuple[Any, ...]) -> InstanceRow:
    """The record for one line of those columns."""
    (instance_id, life, name, status, code, created_at, updated_at, given, owner, wake_at) = line[:10]
    error, parent, run_from, last_seq, signals, seen = line[10:]
    return InstanceRow(
        instance_id=instance_id.decode(),
        life=life,
        workflow_name=name.decode(),
        status=Status(status.decode()),
        code=code.decode(),
        created_at=created_at,
        updated_at=updated_at,
        input=given,
        owner=_text(owner),
        wake_at=wake_at,
        error=_text(error),
        parent=_text(parent),
        run_from=run_from,
        last_seq=last_seq,
        signals=signals,
        seen=seen,
    )


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


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()

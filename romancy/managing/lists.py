"""Lists that show results or headers: instances with commits of theirs, and both as records show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError
from romancy.instance import Instance
from romancy.status import Status
from romancy.storage.any_store import first_commits_of, last_commits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow

__all__ = ["headers_of_instance", "instances_of", "result_of"]


async def instances_of(
    store: Store, rows: Sequence[InstanceRow], *, results: bool = False, headers: bool = False
) -> list[Instance]:
    """The instances of these rows, as lists return them.

    With results, a completed one that was removed in the meantime is left out. With headers, so is any other.
    """
    if not (results or headers):
        return [Instance.of(row) for row in rows]
    completed = [row for row in rows if results and row.status is Status.COMPLETED]
    ends = await last_commits_of(store, completed)
    starts = await first_commits_of(store, rows) if headers else {}
    gone = {row.instance_id for row in completed} - ends.keys()
    if headers:
        gone |= {row.instance_id for row in rows} - starts.keys()
    return [
        Instance.of(row, raw_end=_body(ends.get(row.instance_id)), raw_start=_body(starts.get(row.instance_id)))
        for row in rows
        if row.instance_id not in gone
    ]


def _body(row: LogRow | None) -> bytes | None:
    return None if row is None else row.body


def headers_of_instance(instance: Instance) -> dict[str, Any]:
    """Headers and fair key as members of a record, or why they cannot be read here. Empty: they were not read."""
    if instance.raw_start is None:
        return {}
    try:
        key = instance.fair_key
        return {"headers": instance.headers, **({} if key is None else {"fair_key": key})}
    except (CodecError, HistoryVersionError, HistoryCorruptError) as error:
        return {"headers": None, "headers_unreadable": str(error)}


def result_of(instance: Instance) -> dict[str, Any]:
    """The result as the members of a record: null if there is none, and why if it cannot be read here."""
    try:
        return {"result": instance.result}
    except (CodecError, HistoryVersionError, HistoryCorruptError) as error:
        return {"result": None, "result_unreadable": str(error)}

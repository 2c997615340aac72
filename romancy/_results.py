"""Lists that show results: instances with the commits that completed them, and results as records show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError
from romancy.instance import Instance
from romancy.status import Status
from romancy.storage.last_commits import last_commits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["instances_with_results", "result_of"]


async def instances_with_results(store: Store, rows: Sequence[InstanceRow]) -> list[Instance]:
    """The instances of these rows. A completed one that was removed in the meantime is left out."""
    completed = [row for row in rows if row.status is Status.COMPLETED]
    ends = await last_commits_of(store, completed)
    return [
        Instance.of(row, raw_end=ends[row.instance_id].body if row.status is Status.COMPLETED else None)
        for row in rows
        if row.status is not Status.COMPLETED or row.instance_id in ends
    ]


def result_of(instance: Instance) -> dict[str, Any]:
    """The result as the members of a record: null if there is none, and why if it cannot be read here."""
    try:
        return {"result": instance.result}
    except (CodecError, HistoryVersionError, HistoryCorruptError) as error:
        return {"result": None, "result_unreadable": str(error)}

"""Compares the instance that has a taken id with the one that a start asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.core import WorkflowStarted
from romancy.errors import InstanceConflictError, StorageUnavailableError
from romancy.log import commit_of
from romancy.serialization import refuse_sealed

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy.workflow import Workflow

__all__ = ["check_same"]


async def check_same(store: Store, instance_id: str, definition: Workflow[..., Any] | None, raw: Raw) -> None:
    """Raise InstanceConflictError unless the instance is of this workflow and was started with this input."""
    history = await store.read(instance_id, limit=0)
    if history is None:
        raise StorageUnavailableError(f"instance {instance_id} was just removed; start it again")
    row, name = history.instance, definition.name if definition is not None else ""
    given = await _first_input(store, row) if row.run_from > 1 else row.input
    refuse_sealed(given or b"", "input", f"the input of instance {instance_id}")
    same = given is None or definition is None or definition.is_same_call(given, raw)
    if row.workflow_name != name or not same:
        what = "with another input" if row.workflow_name == name else f"of {row.workflow_name}"
        raise InstanceConflictError(
            f"instance {instance_id!r} exists already, {what}; choose another id or start it with the same input",
            conflicts=[instance_id],
        )


async def _first_input(store: Store, row: InstanceRow) -> bytes | None:
    """The first input of an instance that continued as new. None if that part of the log was pruned."""
    first = await store.read(row.instance_id, limit=1)
    if first is None or not first.rows or first.rows[0].seq != 1:
        return None
    started = commit_of(row.instance_id, 1, first.rows[0].body)[0]
    return bytes(started.input) if isinstance(started, WorkflowStarted) else None

"""Children of lives that are gone: they belong to nobody, and one that has ended makes way for a new child.

A parent that was purged or replaced leaves its children behind. If it derives their ids from its own, its next life
asks for the same ids again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import WorkflowStarted
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError, StorageUnavailableError
from romancy.log import commit_of
from romancy.status import TERMINAL_STATUSES
from romancy.storage.records import PruneRequest

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import History

__all__ = ["is_child_of", "make_way"]

_TAKEN = "exists already"


def is_child_of(found: History, parent: str, life: int) -> bool:
    """Whether this life of the parent started the instance, of whose log the first row is given."""
    if found.instance.parent != parent:
        return False
    recorded = _life_of_parent(found)
    return recorded is None or recorded in (0, life)  # None: that run is being pruned, and the parent's id decides


async def make_way(
    store: Store, instance_id: str, workflow_name: str, *, asks: tuple[str, int] | None = None
) -> str | None:
    """Remove an ended instance of this workflow that is the child of a life that is gone.

    Returns why the id cannot be had; None if it is free now. As with `if_exists="restart_ended"`, an open instance
    stays, and one of another workflow. `asks`: who is to have the id, and its life; a child of that life is no orphan,
    and nobody has to be asked about it. StorageUnavailableError if another transaction holds the ended one.
    """
    seen = 0
    while (found := await store.read(instance_id, limit=1)) is not None:
        row = found.instance
        if row.parent is None or not await _is_orphan(store, found, row.parent, asks):
            return _TAKEN
        if row.workflow_name != workflow_name:
            return f"{_TAKEN}, of {row.workflow_name}"
        if row.status not in TERMINAL_STATUSES:
            return f"{_TAKEN}, the child of a former life of {row.parent!r}, and is {row.status}; end it first"
        if seen == row.updated_at:
            raise StorageUnavailableError(f"instance {instance_id!r} is held by another transaction")
        seen = row.updated_at
        await store.services.upkeep.prune(PruneRequest(instance_ids=(instance_id,), named_until=seen, limit=1))
    return None


async def _is_orphan(store: Store, child: History, parent: str, asks: tuple[str, int] | None) -> bool:
    """Whether the life of the parent that started the child is gone. False if that cannot be told."""
    try:
        life = _life_of_parent(child)
    except (CodecError, HistoryCorruptError, HistoryVersionError):
        life = 0
    if life and (parent, life) == asks:
        return False
    above = await store.read(parent, limit=0)
    return above is None or (bool(life) and life != above.instance.life)


def _life_of_parent(child: History) -> int | None:
    """The life of the parent by the first row of the child's log. 0: not recorded. None: the row is pruned."""
    for row in child.rows[:1]:
        for event in commit_of(child.instance.instance_id, row.seq, row.body):
            if isinstance(event, WorkflowStarted) and event.parent is not None:
                return event.parent.life
    return None

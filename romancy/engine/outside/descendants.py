"""Finds the children of ended instances, and the children of those, by the logs of their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from romancy.core import ChildStarted
from romancy.engine.replay import history
from romancy.engine.worker.orphans import is_child_of
from romancy.errors import InstanceNotFoundError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.records import LATEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["Descent", "children_of", "descent_of"]


class Descent(NamedTuple):
    """Some instances with their descendants."""

    ended: dict[str, int]
    """Those that have ended, children before their parents, with the times of their last changes."""
    open: tuple[str, ...]
    """Children of ended ones that are open. Their own children are not looked at."""

    @property
    def until(self) -> int:
        """The time of the latest change among those that have ended."""
        return max(self.ended.values(), default=LATEST)


async def descent_of(store: Store, instance_ids: Iterable[str]) -> Descent:
    """The ended ones among these instances, with their descendants. Raises the errors of reading a log."""
    ended: dict[str, int] = {}
    still_open: dict[str, None] = {}
    left: list[tuple[str, InstanceRow | None]] = [(instance_id, None) for instance_id in instance_ids]
    while left:
        instance_id, parent = left.pop()
        found = None if instance_id in ended else await store.read(instance_id, limit=1)
        if found is None or (parent is not None and not is_child_of(found, parent.instance_id, parent.life)):
            continue
        row = found.instance
        if row.status in TERMINAL_STATUSES:
            ended[instance_id] = row.updated_at
            left += [(child, row) for child in await children_of(store, row)]
        elif parent is not None:
            still_open[instance_id] = None
    return Descent(dict(reversed(ended.items())), tuple(still_open))


async def children_of(store: Store, row: InstanceRow) -> list[str]:
    """The ids that this life asked for as those of its children, without those that it is not the keeper of.

    Some may be another's. Pruned runs are left out.
    """
    ids: dict[str, None] = {}
    try:
        async for _, commit in history(store, row.instance_id, life=row.life):
            begun = [event for event in commit if isinstance(event, ChildStarted)]
            ids |= {event.instance_id: None for event in begun if not event.detached}
    except InstanceNotFoundError:
        pass  # it was removed just now
    return list(ids)

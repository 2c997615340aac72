"""Entities from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TypeVar

from romancy.sync._entity import SyncEntityHandle
from romancy.sync._starts import SyncStarts

__all__ = ["SyncEntities"]

E = TypeVar("E")


class SyncEntities(SyncStarts):
    """Calls entities, wherever they run."""

    def entity_handle(self, kind: type[E], key: str, /, *, id: str | None = None) -> SyncEntityHandle[E]:
        """A handle of an entity, which need not exist yet: its state, its end, and calls that are not awaited."""
        return SyncEntityHandle(self._keeper, self._call("entity_handle", kind, key, id=id))

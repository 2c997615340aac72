"""The callers of one app that wait for the ends of instances."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from romancy.managing.instances import Instances
from romancy.results.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.core import Activation

__all__ = ["Watching"]


class Watching(Instances):
    """Instances for whose ends callers wait."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: WeakValueDictionary[str, Watch] = WeakValueDictionary()

    def watch(self, instance_id: str) -> Watch:
        """The `Watch` that all handles of an instance share."""
        return self._watches.setdefault(instance_id, Watch())

    def _tell_end(self, instance_id: str, life: int, activation: Activation | None) -> None:
        """Record that this life of the instance ended here, or got stuck. `activation` may be None if it is stuck."""
        watch = self._watches.get(instance_id)
        if watch is None or (activation is not None and activation.outcome is None and activation.parked is None):
            return
        watch.end(life, activation.outcome if activation is not None else None)

    def _begun_anew(self, instance_id: str, life: int) -> None:
        """Record that a new life of the id begins. Wake the callers that wait for a former life, and the worker.

        The former life may have taken a message that another waiter can use.
        """
        self.watch(instance_id).begin(life)
        self._stir()
        self._sweep()

    def _forget_end(self, instance_id: str) -> None:
        """Forget the outcome of an instance: it may belong to a former life."""
        known = self._watches.get(instance_id)
        if known is not None:
            known.outcome = None

    def _removed(self, instance_ids: Iterable[str]) -> None:
        for watch in filter(None, map(self._watches.get, instance_ids)):
            watch.is_gone()

"""Keeps the runs of released (sticky) instances: a wake-up that finds the log unchanged replays nothing.

Releasing an instance gives up its ownership, not its run in memory. Every write to its log is visible: a takeover, a
release and another worker's step all append. If the log has the same life and the same last row, this run has followed
it. Otherwise the run is closed and the log replayed. Only a limited number of runs is kept: the most recently released.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.engine.instance import Live
    from romancy.storage.records import Claimed

__all__ = ["Resting"]


class Resting:
    """The last `limit` runs that were released normally."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Live] = OrderedDict()

    def keep(self, live: Live) -> None:
        """Keep the run of an instance whose release is in its log. The run has followed the whole log."""
        self._forget(live.instance_id)
        if not self._limit:
            live.run.close()
            return
        self._kept[live.instance_id] = live
        if len(self._kept) > self._limit:
            self._forget(next(iter(self._kept)))

    def life_of(self, instance_id: str) -> int:
        """The life of the instance that was released here; 0 if none is kept. Another worker may have it by now."""
        kept = self._kept.get(instance_id)
        return 0 if kept is None else kept.life

    def take(self, claimed: Claimed) -> Live | None:
        """The instance as it was released, if its log has not grown since."""
        kept = self._kept.get(claimed.instance_id)
        if kept is None:
            return None
        there = (claimed.life, claimed.head, claimed.head_writer, claimed.run_from)
        if (kept.life, kept.head, kept.writer, kept.run_from) != there:
            self._forget(claimed.instance_id)
            return None
        del self._kept[claimed.instance_id]
        return kept.again(claimed)

    def close(self) -> None:
        """Close all kept runs."""
        for instance_id in list(self._kept):
            self._forget(instance_id)

    def _forget(self, instance_id: str) -> None:
        kept = self._kept.pop(instance_id, None)
        if kept is not None:
            kept.run.close()

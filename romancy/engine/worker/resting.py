"""Runs of instances that rest, kept for when they come back: a wake-up that finds the log unchanged replays nothing.

To let an instance go gives up its ownership, not the memory of it. Nobody may write to its log without being seen: a
takeover, a release, another worker's step all append, so a log with the same life and the same last row is the one this
run has followed. Anything else is closed and replayed. Only so many runs are kept, those that rested last.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from romancy.engine.instance import Live

if TYPE_CHECKING:
    from romancy.storage.records import Claimed

__all__ = ["Resting"]


class Resting:
    """The last `limit` runs that were let go in good order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Live] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, live: Live) -> None:
        """Remember the run of an instance whose release is in its log; the run has followed all of it."""
        self._forget(live.instance_id)
        if not self._limit:
            live.run.close()
            return
        self._kept[live.instance_id] = live
        if len(self._kept) > self._limit:
            self._forget(next(iter(self._kept)))

    def take(self, claimed: Claimed) -> Live | None:
        """The instance as it was let go, if nobody has written to its log since."""
        kept = self._kept.get(claimed.instance_id)
        if kept is None:
            return None
        there = (claimed.life, claimed.head, claimed.head_writer, claimed.run_from)
        if (kept.life, kept.head, kept.writer, kept.run_from) != there:
            self._forget(claimed.instance_id)
            return None
        del self._kept[claimed.instance_id]
        live = Live(claimed.instance_id, claimed.life, kept.definition, kept.run)
        live.head, live.writer, live.parent, live.run_from = kept.head, kept.writer, kept.parent, kept.run_from
        live.signals, live.shown = min(claimed.seen, claimed.signals), claimed.status
        return live

    def close(self) -> None:
        """Tear down what is kept."""
        for instance_id in list(self._kept):
            self._forget(instance_id)

    def _forget(self, instance_id: str) -> None:
        kept = self._kept.pop(instance_id, None)
        if kept is not None:
            kept.run.close()

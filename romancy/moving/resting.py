"""Which instances rest, so that nobody runs them while they are taken out or brought in.

Ended and paused ones always do. Other open ones rest if no live worker owns them, and none that knows their workflow
lives: it may wake them at any time. A worker lives until its lease is over, by the clock of the database. So all rest
in a snapshot, and after all workers were killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.engine import names_in
from romancy.insight import alive
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

__all__ = ["STILL", "Living", "several"]

STILL: Final = TERMINAL_STATUSES | {Status.PAUSED}
"""No worker runs an instance with such a status."""
_NAMED: Final = 20


class Living:
    """The workers that live, and the workflows that they know."""

    def __init__(self, workers: dict[str, str], owners: dict[str, str]) -> None:
        self._workers = workers
        self._owners = owners

    @classmethod
    async def of(cls, store: Store) -> Living:
        """Those of this database now."""
        living = alive(await store.services.reading.census())
        return cls(
            {name: one.worker_id for one in living for name in names_in(one.codes)},
            {one.token: one.worker_id for one in living},
        )

    def in_the_way(self, workflow: str, status: str, owner: str | None = None) -> str | None:
        """Why an instance does not rest. None: it does."""
        if owner in self._owners:
            return f"the worker {self._owners[owner]!r} runs it"
        if status in STILL or workflow not in self._workers:
            return None
        return f"it is open, and the worker {self._workers[workflow]!r}, which knows its workflow, may run it"


def several(reasons: Sequence[str]) -> str:
    """Some of these reasons, and how many more there are."""
    more = len(reasons) - _NAMED
    return "; ".join(reasons[:_NAMED]) + (f"; and {more} more" if more > 0 else "")

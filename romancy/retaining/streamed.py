"""The task of a worker that empties the streams of instances that ended some time ago: `Romancy(keep_streams=…)`.

What a stream is made of is of use while somebody follows it. What became of it is in the log, which stays.

Of the workers that remove by the same rules, the first by its token does it. A pass goes through the instances that
have ended since the last one, the oldest first, a page at a time. What it has done it remembers in memory: the first
pass after a start begins at the oldest, and finds what was emptied before by one look at an index for each.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import RomancyError
from romancy.retaining.passes import ended_pages, go_through, is_first
from romancy.status import TERMINAL_STATUSES
from romancy.storage.services import Service
from romancy.stream_rows import BLANK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.engine import Worker
    from romancy.storage.protocol import Store

__all__ = ["EmptyingStreams"]

logger = get_logger("romancy")

_MOST_OFTEN: Final = 60.0
_SELDOM: Final = 900.0
_PART: Final = 100
"""A pass follows the former one after this part of the time, and within the two bounds above."""

_LATE: Final = 60_000_000
"""Microseconds: a pass begins so long before the end of the former one, for ends that were committed meanwhile."""


class EmptyingStreams:
    """Empties streams beside the other work of a worker."""

    def __init__(self, store: Store, worker: Worker, kept_for: int, workflows: Iterable[str]) -> None:
        """`kept_for`: microseconds from the end of an instance."""
        self._store = store
        self.worker = worker
        self._kept_for = kept_for
        self._workflows = sorted(workflows)
        self._done: dict[str, int] = {}
        """By workflow: the next pass begins there."""

    @staticmethod
    def can_be(store: Store) -> bool:
        """Whether the store has what this needs."""
        return {Service.JOURNAL, Service.READING} <= set(store.services.offered)

    async def run(self) -> None:
        """Look from time to time, until the worker drains."""
        pause = min(max(self._kept_for / 1_000_000 / _PART, _MOST_OFTEN), _SELDOM)
        while not self.worker.draining:
            await asyncio.sleep(pause)
            try:
                await self.look()
            except RomancyError as error:
                logger.warning("streams of ended instances could not be emptied, which is tried again: %s", error)
            except Exception:
                logger.exception("streams of ended instances could not be emptied, which is tried again")

    async def look(self) -> int:
        """One pass over all workflows. Returns of how many instances it has emptied the streams.

        Raises the first error, when all workflows were tried.
        """
        if not is_first(self.worker):
            return 0
        until = (await self._store.services.reading.census()).now - self._kept_for
        return await go_through(self._workflows, partial(self._empty, until))

    async def _empty(self, until: int, workflow: str) -> int:
        emptied, journal = 0, self._store.services.journal
        pages = ended_pages(
            self._store, self.worker, workflow, sorted(TERMINAL_STATUSES), until=until, since=self._done.get(workflow)
        )
        async for rows in pages:
            ended = [(row.instance_id, row.life) for row in rows]
            emptied += await journal.empty(ended, ended_until=until, blank=BLANK)
        if not self.worker.draining:
            self._done[workflow] = until - _LATE
        return emptied

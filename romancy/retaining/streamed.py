"""The task of a worker that empties the streams of instances that ended some time ago: `Romancy(keep_streams=…)`.

What a stream is made of is of use while somebody follows it. What became of it is in the log, which stays.

Of the workers that know a workflow, the first by its token empties its streams. A pass goes through the instances that
have ended since the last one, the oldest first, a page at a time. What it has done it remembers in memory: the first
pass after a start begins at the oldest, and finds what was emptied before by one look at an index for each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.engine import names_in
from romancy.engine.surroundings import here
from romancy.errors import RomancyError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.query import build_query
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
_PAGE: Final = 200
_REST: Final = 4.0
"""The pause after a page, as a multiple of the time that it took."""


class EmptyingStreams:
    """Empties streams beside the other work of a worker."""

    def __init__(self, store: Store, worker: Worker, kept_for: int, workflows: Iterable[str]) -> None:
        """`kept_for`: microseconds from the end of an instance."""
        self._store = store
        self.worker = worker
        self._kept_for = kept_for
        self._workflows = sorted(workflows)
        self._done: dict[str, int] = {}
        """By workflow: the streams of what ended until then are empty."""

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
        """One pass over all workflows. Returns of how many instances it has emptied the streams."""
        now = (await self._store.services.reading.census()).now
        emptied = 0
        for name in self._workflows:
            if self._is_mine(name):
                emptied += await self._empty(name, now - self._kept_for)
        return emptied

    def _is_mine(self, workflow: str) -> bool:
        """Whether no worker with a lower token does it."""
        leases = self.worker.leases
        return not any(
            not peer.dead and peer.works and peer.token < leases.token and workflow in names_in(peer.codes)
            for peer in leases.peers
        )

    async def _empty(self, workflow: str, until: int) -> int:
        emptied, token = 0, None
        while not self.worker.draining:
            began = here().seconds()
            page = await self._store.services.reading.find(
                build_query(
                    named=workflow, status=tuple(TERMINAL_STATUSES), ended_since=self._done.get(workflow),
                    ended_until=until, oldest_first=True, limit=_PAGE, page_token=token,
                )
            )  # fmt: skip
            ended = [(row.instance_id, row.life) for row in page.rows]
            emptied += await self._store.services.journal.empty(ended, ended_until=until, blank=BLANK) if ended else 0
            token = page.next_token
            if token is None:
                self._done[workflow] = until
                break
            await asyncio.sleep((here().seconds() - began) * _REST)
        return emptied

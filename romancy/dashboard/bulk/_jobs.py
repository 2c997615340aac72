"""The worker of the jobs. It knows only their workflow, and runs while a job is open.

If the dashboard that began a job is gone, any other dashboard of the same database that may act continues the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from romancy._job_name import NAME
from romancy._operating import Operator
from romancy.app import Romancy
from romancy.dashboard._refused import RefusedError
from romancy.dashboard.bulk._job import BULK, operator_of_the_dashboard
from romancy.errors import RomancyError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.query import build_query

if TYPE_CHECKING:
    from romancy.dashboard._reader import Reader, Source
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["Jobs", "newest"]

_log: Final = logging.getLogger("romancy.dashboard")
_EVERY: Final = 30.0
_SHOWN: Final = 20


async def newest(store: Store) -> list[InstanceRow]:
    """The newest jobs."""
    found = await store.services.reading.find(build_query(workflow_name=NAME, limit=_SHOWN))
    return [row for row in found.rows if row.workflow_name == NAME]


class _JobApp(Romancy):
    """An app for jobs alone: workers of the user's apps keep the schedules."""

    _keeps_schedules = False


class Jobs:
    """Runs the jobs of one dashboard."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: contextlib.AsyncExitStack | None = None
        self._app: Romancy | None = None
        self._opening = asyncio.Lock()
        self._looks_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    def look(self, reader: Reader) -> None:
        """From time to time, start the worker if a job is open. No page waits for that."""
        if self._app is not None or time.monotonic() < self._looks_at or not self._source.is_shared:
            return
        if self._looking is None or self._looking.done():
            self._looks_at = time.monotonic() + _EVERY
            self._looking = asyncio.create_task(self._look(reader.store), name="romancy-dashboard-jobs")

    async def looked(self) -> None:
        """Wait until the last look has ended, and the worker has started if necessary."""
        if self._looking is not None:
            await asyncio.wait({self._looking})

    async def _look(self, store: Store) -> None:
        try:
            if all(row.status in TERMINAL_STATUSES for row in await newest(store)):
                return
        except RomancyError:
            _log.debug("a look for jobs of the dashboard failed", exc_info=True)
            return
        try:
            await self.app()
        except RomancyError as error:
            _log.warning("a job of the dashboard is open and does not continue: %s", error)

    async def app(self) -> Romancy:
        """The open app with the worker. Raises RefusedError if no other app can open the database."""
        if not self._source.is_shared:
            raise RefusedError(
                409, "An app on memory:// keeps its instances to itself. Give it a name, as in memory://shop."
            )
        async with self._opening:
            if self._app is not None and not _works(self._app):
                await self._end()
            return self._app if self._app is not None else await self._begin()

    async def _begin(self) -> Romancy:
        app = _JobApp(
            self._source.url,
            workflows=[BULK],
            codecs=self._source.codecs,
            check_at_start=False,
            keep_undelivered=None,  # the user's app decides how long messages are kept
        )
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(app)
            operator = Operator(_store_of(app))
            stack.push_async_callback(operator.leave)
            stack.enter_context(app.override(operator_of_the_dashboard, lambda: operator))
            self._open = stack.pop_all()
        self._app = app
        return app

    async def close(self) -> None:
        """Stop the worker. Another dashboard, or the next start of this one, continues open jobs."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        async with self._opening:
            await self._end()

    async def _end(self) -> None:
        stack, self._open, self._app = self._open, None, None
        self._looks_at = 0.0
        if stack is not None:
            await stack.aclose()


def _works(app: Romancy) -> bool:
    """Whether its worker has not failed for good."""
    try:
        _store_of(app)
    except RomancyError:
        return False
    return True


def _store_of(app: Romancy) -> Store:
    return app._access.opened()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the jobs read what the app has open

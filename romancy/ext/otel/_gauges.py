"""Gauges from the database: how many instances are open, and how full the outbox is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self

from opentelemetry import metrics

from romancy._logs import get_logger
from romancy.errors import RomancyError
from romancy.ext.otel._names import SCOPE, STATUS, WORKFLOW, metric
from romancy.retry import seconds
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.outbox import OutboxState
from romancy.storage.services import Service

if TYPE_CHECKING:
    from types import TracebackType

    from romancy.app import Romancy
    from romancy.retry import Duration
    from romancy.storage.figures import Oldest, OpenWork
    from romancy.storage.protocol import Store

__all__ = ["Gauges"]

logger = get_logger("romancy.ext.otel")

_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)
_PAGE: Final = 1000


class Gauges:
    """Queries the database at intervals: `async with Gauges(app):`, in one process of a deployment."""

    def __init__(self, app: Romancy, *, every: Duration = 60.0, most: int = 1000, meter_provider: Any = None) -> None:
        """`most` limits the counts, so that they cost little: a value of `most` means that many or more."""
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._app = app
        self._every = seconds(every, "every")
        self._most = most
        self._instances = _gauge(meter, "romancy.instances")
        self._waiting = _gauge(meter, "romancy.waiting.oldest")
        self._by_workflow = _gauge(meter, "romancy.open")
        self._ages = _gauge(meter, "romancy.open.oldest")
        self._counted: set[tuple[str, Status]] = set()
        self._aged: set[str] = set()
        self._outbox = _gauge(meter, "romancy.outbox.depth")
        self._oldest = _gauge(meter, "romancy.outbox.oldest")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def measure(self) -> None:
        """Query the database once."""
        store = _store_of(self._app)
        found: OpenWork | None = None
        pending = await store.services.outbox.counts(most=self._most)
        if Service.FIGURES in store.services.offered:
            found = await store.services.figures.open_work(most=self._most, now=pending.now)
        counted = None if found is None else found.by_status()
        for status in _OPEN:
            number = await self._paged(status) if counted is None else _number(counted.get(status))
            self._instances.set(number, {STATUS: status.value})
        self._outbox.set(pending.states.get(OutboxState.PENDING, 0))
        self._oldest.set(_age(pending.oldest, pending.now))
        if found is not None and counted is not None:
            waiting = counted.get(Status.WAITING)
            self._waiting.set(_age(None if waiting is None else waiting.oldest, pending.now))
            self._measure_workflows(found, pending.now)

    def _measure_workflows(self, found: OpenWork, now: int) -> None:
        """Workflows that have nothing open any more are set to nothing once, and not while they may be uncounted."""
        for name, status in self._counted | found.counts.keys():
            if status not in found.more or (name, status) in found.counts:
                number = _number(found.counts.get((name, status)))
                self._by_workflow.set(number, {WORKFLOW: name, STATUS: status.value})
        oldest = {each.name: each.oldest for each in found.by_workflow()}
        for name in oldest if found.more else self._aged | oldest.keys():
            self._ages.set(_age(oldest.get(name), now), {WORKFLOW: name})
        uncounted = {key for key in self._counted if key[1] in found.more}
        self._counted = uncounted | found.counts.keys()
        self._aged = oldest.keys() | (self._aged if found.more else set())

    async def _paged(self, status: Status) -> int:
        """The count from a store that does not count by itself."""
        found, token = 0, None
        while found < self._most:
            limit = min(_PAGE, self._most - found)
            page = await self._app.list_instances(status=status, limit=limit, page_token=token)
            found, token = found + len(page.instances), page.next_page_token
            if token is None:
                break
        return found

    async def _run(self) -> None:
        while True:
            try:
                await self.measure()
            except RomancyError as error:
                logger.warning("cannot measure the database now: %s", error)
            await asyncio.sleep(self._every)


def _store_of(app: Romancy) -> Store:
    return app._access.opened()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no call of an app counts its outbox


def _number(found: Oldest | None) -> int:
    return 0 if found is None else found.number


def _age(at: int | None, now: int) -> float:
    return 0.0 if at is None else max(0.0, (now - at) / 1_000_000)


def _gauge(meter: Any, name: str) -> Any:
    row = metric(name)
    return meter.create_gauge(row.name, unit=row.unit, description=row.meaning)

"""Schedules as pages show them, read from the store: of a visitor who may not see payloads, sealed ones stay sealed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

import msgspec

from romancy.errors import CodecError
from romancy.instance import Instance
from romancy.managing.reports import reports_of
from romancy.query import InstanceFilter
from romancy.schedules.handle import Schedule, next_ticks, state_told
from romancy.schedules.records import WORKFLOW, instance_of, schedule_of
from romancy.serialization import is_sealed
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.schedules.records import State
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow

__all__ = ["EACH", "Shown", "query_of", "shown", "shown_of"]

EACH: Final = 100
_NEXT: Final = 5
_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)


class Shown(NamedTuple):
    """A schedule as pages show it."""

    schedule_id: str
    instance: Instance
    state: State | None
    """None: it is sealed."""

    @property
    def schedule(self) -> Schedule | None:
        return None if self.state is None else Schedule.of(self.state)

    @property
    def is_paused(self) -> bool:
        return self.state is not None and self.state.progress.paused is not None

    @property
    def version(self) -> str:
        """A text that changes with what its page shows."""
        told = self.instance.updated_at.isoformat().encode() if self.state is None else msgspec.json.encode(self.state)
        return hashlib.sha256(told).hexdigest()[:16]

    @property
    def next_ticks(self) -> list[datetime]:
        """The next ticks, or only the next one where cron expressions or the time zone are not known here."""
        if self.state is None or self.state.progress.next is None:
            return []
        try:
            return next_ticks(self.state, _NEXT, datetime.now(UTC))
        except (ImportError, ZoneInfoNotFoundError):
            return [self.state.progress.next]


def query_of(page: str) -> Query:
    """The query for a page of schedules, newest first."""
    chosen = InstanceFilter.of(None, {"workflow_name": WORKFLOW, "status": _OPEN})
    return chosen.query(limit=EACH, page_token=page or None, to_act=True)


async def shown(store: Store, schedule_id: str) -> Shown | None:
    """One schedule. None: there is none, or it was deleted."""
    found = await store.read(instance_of(schedule_id), limit=0)
    if found is None or found.instance.workflow_name != WORKFLOW or found.instance.status in TERMINAL_STATUSES:
        return None
    return next(iter(await shown_of(store, [found.instance])), None)


async def shown_of(store: Store, rows: Sequence[InstanceRow]) -> list[Shown]:
    """Those of these instances that are schedules and not deleted, by id."""
    reports = await reports_of(store, rows)
    found = [
        Shown(schedule_of(row.instance_id), Instance.of(row), _state(row, reports.get(row.instance_id))) for row in rows
    ]
    return sorted(
        (one for one in found if one.state is None or not one.state.progress.deleted), key=lambda one: one.schedule_id
    )


def _state(row: InstanceRow, report: object) -> State | None:
    if isinstance(report, CodecError) or (report is None and is_sealed(row.input, "input")):
        return None
    return state_told(Instance.of(row).input if report is None else report)

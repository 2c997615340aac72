"""Schedules as programs see them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from romancy._microseconds import microseconds_of, moment_of
from romancy._schedule_options import check_overlap
from romancy._schedule_times import due
from romancy.errors import InstanceEndedError, InstanceNotFoundError, UsageError
from romancy.retry import whole_number
from romancy.schedules.declared import check_schedule_id
from romancy.schedules.records import (
    ORDER,
    WORKFLOW,
    Backfill,
    Delete,
    Pause,
    Resume,
    ScheduleRun,
    State,
    Trigger,
    instance_of,
)
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_text
from romancy.storage.query import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy._schedule_options import Overlap
    from romancy.instance import Instance
    from romancy.managing.instances import Instances
    from romancy.messages.senders import Senders
    from romancy.schedules.records import Definition, Order

__all__ = [
    "Schedule", "ScheduleHandle", "all_schedules", "is_declared", "next_ticks", "state_of", "state_told",
    "states_of", "takes_no_change",
]  # fmt: skip

_MOST_NEXT: Final = 1000
_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)
_FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Schedule(Struct, frozen=True, kw_only=True):
    """A schedule as it is now."""

    id: str
    workflow: str
    timing: str
    """When it is due, in words."""
    overlap: str
    catchup: str
    pause_on_failure: bool
    paused: str | None
    """Why it is paused. None: it is not."""
    next: datetime | None
    """The next tick. None: nothing follows, or it is paused."""
    started: int
    """How many runs it has started, since it was declared."""
    skipped: int
    """How many ticks had no run: another run was open, or no worker ran in time."""
    failed: int
    """How many runs have failed."""
    runs: tuple[ScheduleRun, ...]
    """The last ten runs, in the order of their starts."""

    @classmethod
    def of(cls, state: State) -> Schedule:
        definition, progress = state.definition, state.progress
        catchup = definition.options.catchup
        return cls(
            id=definition.id,
            workflow=definition.workflow,
            timing=str(definition.options.timing),
            overlap=definition.options.overlap,
            catchup=catchup if isinstance(catchup, str) else f"{catchup / 1_000_000:g} s",
            pause_on_failure=definition.options.pause_on_failure,
            paused=progress.paused,
            next=progress.next,
            started=progress.started,
            skipped=progress.skipped,
            failed=progress.failed,
            runs=progress.runs,
        )


class ScheduleHandle:
    """A schedule by its id. Every call is durable when it returns, and a worker carries it out."""

    def __init__(self, instances: Instances, senders: Senders, schedule_id: str) -> None:
        check_schedule_id(schedule_id)
        self._instances = instances
        self._senders = senders
        self._id = schedule_id

    @property
    def id(self) -> str:
        return self._id

    @property
    def instance_id(self) -> str:
        """The id of the instance that is this schedule. Its children are the runs."""
        return instance_of(self._id)

    async def get(self) -> Schedule | None:
        """The schedule as it is now. None: it does not exist, or was deleted."""
        found = await state_of(self._instances, self._id)
        return None if found is None else Schedule.of(found)

    async def next(self, count: int = 1) -> list[datetime]:
        """Its next ticks, at most this many, in UTC. A paused schedule has none.

        While a run is in the way of ticks, those that came meanwhile are among them: they are not decided yet.
        """
        if whole_number(count, "the count of next()") > _MOST_NEXT:
            raise UsageError(f"next() gives 1 to {_MOST_NEXT:,} ticks, not {count!r}")
        found = await state_of(self._instances, self._id)
        if found is None:
            raise _unknown(self._id)
        return next_ticks(found, count, datetime.now(UTC))

    async def pause(self, note: str = "") -> None:
        """Start nothing until `resume`. What is due meanwhile is not started later. Open runs go on."""
        check_text(note, "note of the pause")
        await self._order(Pause(note))

    async def resume(self) -> None:
        """Go on with what is due from now on."""
        await self._order(Resume())

    async def trigger(self, *, overlap: Overlap | None = None) -> None:
        """Start one run now, also of a paused schedule. `overlap` replaces that of the schedule for this run."""
        await self._order(Trigger(None if overlap is None else check_overlap(overlap, "trigger")))

    async def backfill(self, start: datetime, end: datetime) -> None:
        """Start a run for each tick from `start` to `end`, both included. Ticks that have their run get no other."""
        first, last = microseconds_of(start, "start of the backfill"), microseconds_of(end, "end of the backfill")
        if first > last:
            raise UsageError("backfill: its start is after its end")
        await self._order(Backfill(moment_of(first), moment_of(last)))

    async def delete(self) -> None:
        """End the schedule, and return when a worker has done so. Its runs go on, and their rows stay."""
        await self.order_delete()
        with suppress(InstanceNotFoundError, InstanceEndedError):
            await self._instances.report(self.instance_id, wait=_is_deleted)

    async def order_delete(self) -> None:
        """End the schedule, as soon as there is a worker."""
        await self._order(Delete())

    async def _order(self, order: Order) -> None:
        if await state_of(self._instances, self._id) is None:
            raise _unknown(self._id)
        try:
            await self._senders.signal(self.instance_id, ORDER, order)
        except (InstanceNotFoundError, InstanceEndedError):
            raise _unknown(self._id) from None

    def __repr__(self) -> str:
        return f"<schedule {self._id}>"


def _is_deleted(told: Any) -> bool:
    return bool(told["progress"].get("deleted"))


def _unknown(schedule_id: str) -> InstanceNotFoundError:
    return InstanceNotFoundError(f"there is no schedule {schedule_id!r}: it was never declared here, or was deleted")


async def state_of(instances: Instances, schedule_id: str) -> State | None:
    """A schedule as it is now. None: it does not exist, or was deleted."""
    state = await _last_state_of(instances, schedule_id)
    return None if state is None or state.progress.deleted else state


async def takes_no_change(instances: Instances, definition: Definition) -> bool:
    """Whether the instance of this schedule has to end before it is declared so.

    A deleted one may read no order any more. One that starts another workflow belongs to workers that may be gone, or
    cannot start this one.
    """
    state = await _last_state_of(instances, definition.id)
    return state is not None and (state.progress.deleted or state.definition.workflow != definition.workflow)


async def _last_state_of(instances: Instances, schedule_id: str) -> State | None:
    """What its instance has told, while that is open."""
    found = await instances.get_instance(instance_of(schedule_id))
    if found is None or found.workflow_name != WORKFLOW or found.status in TERMINAL_STATUSES:
        return None
    (state,) = await _states(instances, [found])
    return state


async def is_declared(instances: Instances, definition: Definition) -> bool:
    """Whether the schedule is this one, and nothing that it has been told can still change that."""
    found = await state_of(instances, definition.id)
    if found is None or found.definition != definition.without_input:
        return False
    instance = await instances.get_instance(instance_of(definition.id), waits=True)
    if instance is None or any(one.name == ORDER.name or one.kind == "sealed" for one in instance.untaken or ()):
        return False
    found = await state_of(instances, definition.id)  # what was taken meanwhile shows here
    return found is not None and not found.hears and found.definition == definition.without_input


async def states_of(instances: Instances, schedule_ids: Sequence[str]) -> list[State]:
    """Those of these schedules that are there."""
    ids = [instance_of(schedule_id) for schedule_id in schedule_ids]
    return [
        state
        for first in range(0, len(ids), MAX_IDS)
        for state in await _states(
            instances, [one async for one in instances.iter_instances(ids=ids[first : first + MAX_IDS], status=_OPEN)]
        )
        if not state.progress.deleted
    ]


async def all_schedules(instances: Instances) -> list[Schedule]:
    """All schedules that are not deleted, by id."""
    found = [one async for one in instances.iter_instances(workflow_name=WORKFLOW, status=_OPEN)]
    there = [Schedule.of(state) for state in await _states(instances, found) if not state.progress.deleted]
    return sorted(there, key=lambda one: one.id)


async def _states(instances: Instances, found: Sequence[Instance]) -> list[State]:
    """What those of these instances reported last that are schedules, in this order."""
    schedules = [one for one in found if one.workflow_name == WORKFLOW]
    states: list[State] = []
    for first in range(0, len(schedules), MAX_IDS):
        some = schedules[first : first + MAX_IDS]
        told = await instances.reports([one.instance_id for one in some])
        states += [state_told(told.get(one.instance_id) or one.input) for one in some]
    return states


def next_ticks(state: State, count: int, now: datetime) -> list[datetime]:
    """The next ticks of a schedule, at most this many. A paused one has none."""
    if state.progress.paused is not None:
        return []
    first = state.progress.next or max(state.progress.since, now)
    return list(due(state.definition.options.timing, first - datetime.resolution, _FOR_EVER, count).ticks)


def state_told(told: Any) -> State:
    """The state that the instance of a schedule has reported, or that it was started with."""
    state = msgspec.json.decode(msgspec.json.encode(told), type=State)
    return replace(state, definition=state.definition.without_input)

"""Schedules from outside: declared, found, listed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Unpack

from romancy._microseconds import moment_of
from romancy._schedule_options import ScheduleOptions
from romancy._schedule_times import begins
from romancy.errors import InstanceConflictError, InstanceNotFoundError, UsageError
from romancy.schedules.declared import check_schedule_id, definition_of
from romancy.schedules.handle import Schedule, ScheduleHandle, all_schedules, is_declared, state_of, takes_no_change
from romancy.schedules.keeper import KEEPER
from romancy.schedules.records import ORDER, WORKFLOW, Change, Progress, instance_of
from romancy.starting.starts import Starts

if TYPE_CHECKING:
    from romancy._schedule_options import ScheduleKeywords
    from romancy.schedules.records import Definition
    from romancy.workflow import Call

__all__ = ["Schedules"]


class Schedules(Starts):
    """Declares schedules, and starts and tells them so."""

    _keeper = KEEPER
    """The workflow of schedules. An open app has one that leaves those of workflows alone that it does not know."""

    async def schedule(
        self, schedule_id: str, call: Call[Any], /, *, session: object = None, **options: Unpack[ScheduleKeywords]
    ) -> ScheduleHandle:
        """Start this workflow, with these arguments, at each time that `cron=`, `every=` or `at=` names.

        `call` is `workflow.bind(…)`, with the options of its runs. The schedule is durable when this returns, and any
        worker that knows the workflow keeps it. Calling again with the same id changes nothing if nothing differs;
        otherwise the new definition holds from now on. A run's id is that of the schedule, `@` and the time, and the
        run reads the time as `ctx.scheduled_at`.

        `overlap` says what becomes of a tick that comes while a run is open: "skip" drops it, "buffer_one" keeps one
        until that run has ended, "allow" starts it. `catchup` is for ticks that came while no worker ran: "one" starts
        the last one, "all" all of them, "none" only one that is less than a minute late, and a duration those that are
        not later. With `pause_on_failure=True`, a failed run pauses the schedule. `jitter` puts each start off by a
        random part of it. Nothing is due before `start` and after `end`.

        With `session=`, a connection or session in a transaction of your own, your commit declares it.
        """
        self._access.opened("schedule")
        check_schedule_id(schedule_id)
        checked = ScheduleOptions.of(f"schedule {schedule_id!r}", options)
        definition = definition_of(schedule_id, call, checked, self._access.stored_size)
        return await (self._declare(definition) if session is None else self._declare_in(session, definition))

    async def _declare(self, definition: Definition) -> ScheduleHandle:
        handle = ScheduleHandle(self, self, definition.id)
        if not await is_declared(self, definition):
            first, change = await self._declaration(definition)
            if await takes_no_change(self, definition):
                with suppress(InstanceNotFoundError):
                    await self.terminate(handle.instance_id, reason="its schedule is declared anew")
            await self.signal_with_start(first, ORDER, change, if_exists="restart_ended")
        return handle

    async def _declare_in(self, session: object, definition: Definition) -> ScheduleHandle:
        """Write the declaration in any case: what this transaction has declared before is not seen elsewhere."""
        handle = ScheduleHandle(self, self, definition.id)
        first, change = await self._declaration(definition)
        try:
            await self.start_many([first], session=session, if_exists="restart_ended")
        except InstanceConflictError:
            found = await self.get_instance(handle.instance_id)
            if found is not None and found.workflow_name != WORKFLOW:
                raise
            there = await state_of(self, definition.id)
            if there is not None and there.definition.workflow != definition.workflow:
                raise UsageError(
                    f"schedule {definition.id!r} starts {there.definition.workflow}: declare it without session=, or "
                    "delete it before"
                ) from None
            await self.signal(handle.instance_id, ORDER, change, session=session)
        return handle

    async def _declaration(self, definition: Definition) -> tuple[Call[None], Change]:
        """The start of a schedule, and what tells one that is there of its definition."""
        access = self._access
        now = (
            access.worker.clock.now()
            if access.worker is not None
            else (await access.opened().services.reading.census()).now
        )
        at = moment_of(now)
        progress = Progress(since=begins(definition.options.timing, at))
        first = self._keeper.options(instance_id=instance_of(definition.id)).bind(definition, progress)
        return first, Change(definition, at)

    def schedule_handle(self, schedule_id: str) -> ScheduleHandle:
        """A handle of a schedule, wherever it was declared."""
        self._access.opened()
        return ScheduleHandle(self, self, schedule_id)

    async def schedules(self) -> list[Schedule]:
        """All schedules, by id. Raises CodecError if one was written with a codec that this app does not have."""
        return await all_schedules(self)

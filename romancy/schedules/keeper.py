"""The workflow whose instances are the schedules.

A schedule is an instance like any other: its log says what it has started, so every tick starts once, whichever workers
die, and another worker goes on where it was. Its runs are its children. They outlive it, and are not stopped with it
unless the instance itself is cancelled.

The body must stay able to replay what former versions of it have written. What depends on the data of time zones is an
activity, so that a replay does not compute it again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from romancy._headers import SCHEDULED_AT
from romancy._named_workflows import StoredCall
from romancy._schedule_options import BUFFER, Drops, Overlap
from romancy._schedule_times import Due, Timing, begins, due
from romancy._start_options import kept
from romancy.activity import Activity
from romancy.context import WorkflowContext  # noqa: TC001 - the workflow's types are read
from romancy.errors import InstanceConflictError, WorkflowCancelledError, WorkflowFailedError
from romancy.retry import RetryPolicy
from romancy.schedules.records import (
    ORDER,
    WORKFLOW,
    Backfill,
    Change,
    Definition,
    Delete,
    Order,
    Outcome,
    Pause,
    Progress,
    Resume,
    ScheduleRun,
    State,
    Stretch,
    Trigger,
)
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.event import Event

__all__ = ["KEEPER", "keeper_of"]

_PORTION: Final = 100
"""How many ticks are looked at, and started, in one step."""
_LONG: Final = 100
"""A run of the keeper with this many starts or orders ends as soon as it waits for no child."""
_LONGEST: Final = 1000
"""It ends with this many, and no longer knows the children that it waited for."""
_GRACE: Final = 60.0
"""For how many seconds a deleted schedule can be declared again before its instance ends."""
_MOMENT: Final = 0.001
_LATE: Final = timedelta(minutes=1)
"""How late a tick may be that is not caught up with."""


async def _due(timing: Timing, after: datetime, until: datetime, most: int) -> Due:
    """What is due. As an activity, because the answer depends on the data of time zones of this machine."""
    return due(timing, after, until, most)


TICKS: Final[Activity[[Timing, datetime, datetime, int], Due]] = Activity(
    _due, name="romancy.schedule.due", commit="lazy", retry=RetryPolicy(max_attempts=0)
)
"""Tried for ever: another machine may know the time zone that this one lacks."""


class _Named(msgspec.Struct):
    workflow: str


class _Given(msgspec.Struct):
    """What has to be read of the input of a schedule to know whose it is."""

    definition: _Named


async def _keep(ctx: WorkflowContext, definition: Definition, progress: Progress) -> None:
    await _Keeper(ctx, definition, progress).keep()


def _drops(report: bytes) -> Drops | None:
    """The ticks that a schedule has dropped by this report. None: none."""
    if b'"dropped"' not in report:
        return None
    state = msgspec.json.decode(report, type=State)
    return Drops(state.definition.id, state.definition.workflow, state.progress.dropped)


KEEPER: Final[Workflow[[Definition, Progress], None]] = Workflow(_keep, name=WORKFLOW, version="1")
KEEPER.drops = _drops


def keeper_of(workflows: Iterable[str]) -> Workflow[[Definition, Progress], None]:
    """The workflow of the schedules of these workflows. It leaves others alone.

    Its version names them: what one app has declined is not declined for another one.
    """
    known = frozenset(workflows)
    version = f"{KEEPER.version}.{sha256(repr(sorted(known)).encode()).hexdigest()[:12]}"
    keeper: Workflow[[Definition, Progress], None] = Workflow(_keep, name=WORKFLOW, version=version)
    keeper.drops = _drops
    keeper.declines = partial(_declined, known)
    return keeper


def _declined(known: frozenset[str], given: bytes) -> str | None:
    name = msgspec.json.decode(given, type=_Given).definition.workflow
    return None if name in known else f"it starts {name}, which this worker does not know"


class _Keeper:
    """One run of the instance of a schedule."""

    def __init__(self, ctx: WorkflowContext, definition: Definition, progress: Progress) -> None:
        self._ctx = ctx
        self._definition: Definition = definition
        self._given: str = definition.workflow
        """The workflow that the input of this run names: workers see by it whether they can keep the schedule."""
        self._progress: Progress = progress
        self._reported: State | None = None
        self._run = _run_of(definition)
        self._open: dict[str, asyncio.Task[Outcome]] = {}
        """The runs that have not ended, by instance id, in the order of their starts."""
        self._steps = 0

    async def keep(self) -> None:
        order = self._next_order()
        while True:
            await self._hear_ends()
            if order.done():
                await self._obey(order.result().data)
                order = self._next_order()
            await self._start_what_is_due()
            await self._report()
            if self._progress.deleted:
                await self._wait_for_a_declaration(order)
            if order.done():
                continue  # it came meanwhile, and this run has received it
            if self._progress.deleted or self._is_long():
                order.cancel()
                break
            await self._wait(order)
        if not self._progress.deleted:
            KEEPER.recur(self._definition, self._progress)

    async def _wait(self, order: asyncio.Task[Event[Order]]) -> None:
        """Wait for an order, the end of a run, or the next tick."""
        alarm = self._alarm()
        waits: list[asyncio.Task[Any]] = [order, *self._open.values(), *([] if alarm is None else [alarm])]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if alarm is not None:
            alarm.cancel()

    async def _wait_for_a_declaration(self, order: asyncio.Task[Event[Order]]) -> None:
        """Wait before the end: an instance that ends leaves unread what is sent to it at that moment.

        After a time without workers, what was sent meanwhile comes after the end of the long wait.
        """
        for length in (_GRACE, _MOMENT):
            if not order.done():
                await asyncio.wait([order], timeout=length)

    def _next_order(self) -> asyncio.Task[Event[Order]]:
        return asyncio.create_task(self._hear())

    async def _hear(self) -> Event[Order]:
        """Receive an order. The commit that takes it out of the inbox says that it is under way."""
        order = await self._ctx.wait_event(ORDER)
        await self._report(hears=True)
        return order

    def _now(self, **changes: Any) -> None:
        self._progress = replace(self._progress, **changes)

    def _drop(self, number: int) -> None:
        self._progress = self._progress.dropping(number)

    def _is_long(self) -> bool:
        if self._definition.workflow != self._given and self._ctx.patched("another workflow begins a run"):
            return True
        return self._steps >= _LONGEST or (self._steps >= _LONG and not self._open)

    def _alarm(self) -> asyncio.Task[None] | None:
        """A task that ends at the next tick, or at once if a backfill goes on. None: there is nothing to wait for."""
        if self._progress.backfills:
            return asyncio.create_task(asyncio.sleep(0))
        if self._progress.next is None or self._waits_for_its_run():
            return None
        return asyncio.create_task(self._ctx.sleep_until(self._progress.next))

    def _is_early(self) -> bool:
        """Whether the next tick is known and not due."""
        return self._progress.next is not None and self._ctx.now() < self._progress.next

    def _waits_for_its_run(self) -> bool:
        """Whether ticks change nothing before the run has ended."""
        return bool(self._open) and self._definition.options.overlap != "allow"

    async def _report(self, *, hears: bool = False) -> None:
        state = State(definition=self._definition.without_input, progress=self._progress, hears=hears)
        if state != self._reported:
            await self._ctx.report(state)
            self._now(dropped=0)
            self._reported = replace(state, progress=self._progress)

    # ── ticks ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _start_what_is_due(self, until: datetime | None = None) -> bool:
        """Start the next runs that are due. True: there are more. A new run of the keeper may begin before them."""
        await self._go_on_with_a_backfill()
        if self._progress.paused is not None or self._progress.deleted:
            self._now(next=None)
            return False
        if self._progress.buffered is not None and not self._open:
            await self._start(self._progress.buffered)
            self._now(buffered=None)
        if self._is_early() or self._waits_for_its_run():
            return False
        return await self._decide_a_portion(until or self._ctx.now())

    async def _decide_a_portion(self, now: datetime) -> bool:
        """Decide about the next ticks that are due. True: there are more."""
        definition, since = self._definition, self._progress.since
        if isinstance(definition.options.catchup, int):
            since = max(since, now - timedelta(microseconds=definition.options.catchup))
        found = await TICKS(definition.options.timing, since, now, _PORTION)
        chosen = self._chosen(found, now)
        goes_on = found.more and chosen is found.ticks
        for tick in chosen:
            await self._offer(tick)
        self._drop(len(found.ticks) - len(chosen))
        self._now(
            since=found.ticks[-1] if goes_on else max(now, since),
            next=found.following if goes_on else found.next,
        )
        return goes_on

    def _chosen(self, found: Due, now: datetime) -> tuple[datetime, ...]:
        """The ticks to start, of those that are due."""
        if found.latest is None or self._definition.options.catchup not in ("one", "none"):
            return found.ticks
        late = now - found.latest > _LATE
        return () if late and self._definition.options.catchup == "none" else (found.latest,)

    async def _offer(self, tick: datetime) -> None:
        """Start a run for this tick, unless another run is in its way."""
        if not self._waits_for_its_run():
            await self._start(tick)
        elif self._definition.options.overlap == BUFFER and self._progress.buffered is None:
            self._now(buffered=tick)
        else:
            self._drop(1)

    async def _start(self, tick: datetime, mark: str = "") -> None:
        definition = self._definition
        instance_id = f"{definition.id}@{_text(tick)}{mark}"
        if instance_id in self._open:
            return
        delay = (
            0.0
            if mark or not definition.options.timing.jitter
            else self._ctx.random().uniform(0, definition.options.timing.jitter)
        )
        headers = {**definition.headers, SCHEDULED_AT: _text(tick)}
        run = self._run.options(instance_id=instance_id, delay=delay / 1_000_000)
        run.given = replace(run.given, **kept(definition) | {"headers": headers})
        child = await self._ctx.start(run)
        self._steps += 1
        self._open[instance_id] = asyncio.create_task(_outcome(child.result()))
        self._progress = self._progress.began(ScheduleRun(instance_id=instance_id, scheduled_at=tick))

    async def _hear_ends(self) -> None:
        ended = [instance_id for instance_id, task in self._open.items() if task.done()]
        if ended and self._waits_for_its_run():
            await self._pass_over()
        for instance_id in ended:
            outcome = self._open.pop(instance_id).result()
            self._progress = self._progress.ended(instance_id, outcome)
            if outcome == "failed" and self._definition.options.pause_on_failure and self._progress.paused is None:
                self._now(paused=f"{instance_id} failed", buffered=None)

    async def _pass_over(self) -> None:
        """Decide about the ticks that came while a run was in their way."""
        definition, now, since = self._definition, self._ctx.now(), self._progress.since
        if self._progress.paused is not None or self._is_early():
            return
        found = await TICKS(definition.options.timing, since, now, _PORTION)
        kept = definition.options.overlap == BUFFER and self._progress.buffered is None and bool(found.ticks)
        if kept:
            self._now(buffered=found.ticks[0])
        self._drop(len(found.ticks) - kept)
        self._now(since=max(now, since), next=found.next)

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _obey(self, order: Order) -> None:
        self._steps += 1
        match order:
            case Change():
                await self._change(order)
            case _ if self._progress.deleted:
                pass  # it came behind the deletion
            case Pause():
                await self._start_what_is_due()
                self._now(paused=order.note, buffered=None)
            case Resume():
                if self._progress.paused is not None:
                    self._now(paused=None, since=self._ctx.now())
            case Trigger():
                await self._trigger(order.overlap or self._definition.options.overlap)
            case Backfill():
                stretch = Stretch(after=order.start - timedelta(microseconds=1), until=order.end)
                self._now(backfills=(*self._progress.backfills, stretch))
            case Delete():
                self._now(deleted=True, buffered=None, backfills=())

    async def _change(self, order: Change) -> None:
        """Go on with another definition. What was due before by the present one is started by it."""
        if self._progress.deleted:
            self._definition, self._run = order.definition, _run_of(order.definition)
            self._progress = Progress(since=begins(order.definition.options.timing, order.declared_at))
            return
        if order.definition == self._definition:
            return
        decided, declared_at = self._progress.since, min(order.declared_at, self._ctx.now())
        while await self._start_what_is_due(declared_at):
            pass
        self._definition, self._run = order.definition, _run_of(order.definition)
        self._now(since=max(decided, begins(order.definition.options.timing, declared_at)), next=None)

    async def _trigger(self, overlap: Overlap) -> None:
        now = self._ctx.now()
        if self._open and overlap == "skip":
            self._drop(1)
        elif self._open and overlap == BUFFER:
            self._now(buffered=self._progress.buffered or now)
        else:
            self._now(triggered=self._progress.triggered + 1)
            await self._start(now, f"!{self._progress.triggered}")

    async def _go_on_with_a_backfill(self) -> None:
        if not self._progress.backfills:
            return
        stretch, *others = self._progress.backfills
        found = await TICKS(self._definition.options.timing, stretch.after, stretch.until, _PORTION)
        for tick in found.ticks:
            await self._start(tick)
        if found.more:
            others.insert(0, replace(stretch, after=found.ticks[-1]))
        self._now(backfills=tuple(others))


def _run_of(definition: Definition) -> StoredCall:
    return StoredCall(definition.workflow, definition.input)


async def _outcome(result: Any) -> Outcome:
    try:
        await result
    except WorkflowCancelledError:
        return "cancelled"
    except WorkflowFailedError as error:
        return "joined" if isinstance(error.__cause__, InstanceConflictError) else "failed"
    return "completed"


def _text(moment: datetime) -> str:
    """A moment in UTC as part of an id: to the second, unless it has a fraction."""
    return moment.isoformat().replace("+00:00", "Z")

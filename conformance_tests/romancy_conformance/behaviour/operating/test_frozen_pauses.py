"""A pause with `freeze_time=True`: what the instance waits for is due as much later as it was paused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import time_ns
from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventTimeoutError, Romancy, Status, UsageError, WorkflowContext, WorkflowTimeoutError, workflow
from romancy.core import (
    CancelRequested,
    Input,
    MessageAwaited,
    OwnerChanged,
    TimerFired,
    TimerStarted,
    WaitTimedOut,
    WorkflowStarted,
)
from romancy_conformance.behaviour.cast import record, waits_at_a_gate
from romancy_conformance.behaviour.gates import logged
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.core import LogEvent
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LATER = timedelta(seconds=2)
"""How long sleeps and limits are. They would be over while the instance is paused."""
_IN_MICROSECONDS = LATER // timedelta(microseconds=1)


@workflow
async def naps(ctx: WorkflowContext, seconds: float = LATER.total_seconds()) -> float:
    """Sleep, and return the time since the start, by the clock of the run."""
    began = ctx.now()
    await ctx.sleep(seconds)
    return (ctx.now() - began).total_seconds()


@workflow
async def listens(ctx: WorkflowContext, seconds: float = LATER.total_seconds()) -> Any:
    """Wait for a number within a time; what is no number is put aside."""
    try:
        return (await ctx.wait_event("go", model=int, timeout=seconds)).data
    except EventTimeoutError:
        return "too late"


@workflow
async def works_and_naps(ctx: WorkflowContext) -> None:
    async with asyncio.timeout(3600):
        await waits_at_a_gate("gate")
        await ctx.sleep(LATER)


@workflow
async def goes_on(ctx: WorkflowContext, number: int = 0) -> None:
    await ctx.wait_event("go")
    goes_on.recur(number + 1)


def due_of(history: list[LogEvent], kind: type[TimerStarted | MessageAwaited]) -> int:
    """When the first of these was due when it began."""
    due = next(event.due for event in history if isinstance(event, kind))
    assert due is not None
    return due


def paused_for(history: list[LogEvent]) -> int:
    """How long the instance was paused in all."""
    entries = [event for event in history if isinstance(event, OwnerChanged) and event.pause]
    return sum(event.at if event.pause == "ends" else -event.at for event in entries)


async def frozen(app: Romancy, handle: Handle[Any], awaits: type[LogEvent], reason: str = "") -> list[LogEvent]:
    """Pause an instance that waits, with its time, and return its log."""
    await logged(handle, awaits)
    await handle.pause(reason, freeze_time=True)
    await status_is(app, handle.instance_id, Status.PAUSED)
    return await handle.history()


async def passed(due: int) -> None:
    """Wait until a time of the log is over."""
    await until(lambda: time_ns() // 1000 > due)


async def test_a_sleep_is_over_as_much_later_as_each_pause_lasted(app: Romancy) -> None:
    handle = await app.start(naps.options(instance_id="n"))
    for _ in range(2):
        await passed(due_of(await frozen(app, handle, TimerStarted, "wait"), TimerStarted))  # it would be over
        assert any("as much later as it is paused" in line for line in await handle.explain())
        await handle.unpause()
    assert await handle.result(timeout=30) >= LATER.total_seconds()
    history = await handle.history()
    fired = next(event.at for event in history if isinstance(event, TimerFired))
    assert fired - due_of(history, TimerStarted) >= paused_for(history) > 0


async def test_without_it_the_time_goes_on(app: Romancy) -> None:
    handle = await app.start(naps.options(instance_id="n"))
    await logged(handle, TimerStarted)
    await handle.pause()
    await status_is(app, "n", Status.PAUSED)
    await passed(due_of(await handle.history(), TimerStarted))
    assert any("that takes effect when the pause is over" in line for line in await handle.explain())
    await handle.unpause()
    await handle.result(timeout=30)
    history = await handle.history()
    fired = next(event.at for event in history if isinstance(event, TimerFired))
    assert fired - due_of(history, TimerStarted) < paused_for(history)


async def test_a_wait_has_its_time_behind_the_pause(app: Romancy) -> None:
    late, heard = [await app.start(listens.options(instance_id=id)) for id in ("late", "heard")]
    for handle in (late, heard):
        await frozen(app, handle, MessageAwaited)
    for handle in (late, heard):
        await passed(due_of(await handle.history(), MessageAwaited))
    await heard.signal("go", 3)
    await heard.unpause()
    await late.unpause()
    assert await heard.result(timeout=30) == 3
    assert await late.result(timeout=30) == "too late"
    history = await late.history()
    over = next(event.at for event in history if isinstance(event, WaitTimedOut))
    assert over - due_of(history, MessageAwaited) >= paused_for(history) > 0


async def test_a_wait_that_goes_on_behind_an_event_that_does_not_fit_keeps_its_time(app: Romancy) -> None:
    handle = await app.start(listens.options(instance_id="l"), 3600)
    await frozen(app, handle, MessageAwaited)
    await handle.unpause()
    await handle.signal("go", "no number")
    await until(lambda: _awaited_twice(handle))
    await handle.signal("go", 4)
    assert await handle.result(timeout=30) == 4
    history = await handle.history()
    first, second = [event.due for event in history if isinstance(event, MessageAwaited)]
    assert first is not None
    assert second is not None
    assert second - first == paused_for(history)


async def _awaited_twice(handle: Handle[Any]) -> bool:
    return sum(isinstance(event, MessageAwaited) for event in await handle.history()) == 2


async def test_an_instance_that_is_asked_while_it_works_is_paused_so_too(app: Romancy, open_app: Open) -> None:
    handle = await app.start(works_and_naps.options(instance_id="w"))
    await until(lambda: "gate" in record.names())
    assert not await handle.pause(freeze_time=True)
    record.gates["gate"].set()
    await status_is(app, "w", Status.PAUSED)
    await app.drain(0)
    other = await open_app()
    await other.unpause("w")
    await other.handle("w").result(timeout=30)
    history = await handle.history()
    (begins,) = [event for event in history if isinstance(event, OwnerChanged) and event.pause == "begins"]
    assert begins.freeze


async def test_the_limit_of_an_instance_is_put_off_and_the_next_run_keeps_it(app: Romancy) -> None:
    handle = await app.start(goes_on.options(instance_id="g", timeout=LATER))
    first = await frozen(app, handle, MessageAwaited)
    began = next(event.at for event in first if isinstance(event, WorkflowStarted))
    await passed(began + _IN_MICROSECONDS)
    await handle.unpause()
    await handle.signal("go")
    with pytest.raises(WorkflowTimeoutError):
        await handle.result(timeout=30)
    log = [entry.event async for entry in handle.entries()]
    over = next(event.at for event in log if isinstance(event, CancelRequested))
    assert over >= began + _IN_MICROSECONDS + paused_for(log)
    assert sum(isinstance(event, WorkflowStarted) for event in log) == 2


async def test_a_fork_of_an_instance_that_is_paused_so_goes_on_at_once(app: Romancy) -> None:
    handle = await app.start(naps.options(instance_id="n"))
    await frozen(app, handle, TimerStarted)
    log = await handle.history()
    await passed(due_of(log, TimerStarted))
    fork = await handle.fork(at=2, id="f")
    assert await fork.result(timeout=30) >= LATER.total_seconds()
    assert await handle.status() is Status.PAUSED
    await app.terminate(handle.instance_id)


async def test_a_rewind_of_an_instance_that_is_paused_so_stays_so(app: Romancy) -> None:
    handle = await app.start(naps.options(instance_id="n"))
    await frozen(app, handle, TimerStarted, "later")
    await handle.rewind(at=1)
    assert await handle.status() is Status.PAUSED
    begins = [event for event in await handle.history() if isinstance(event, OwnerChanged) and event.pause][-1]
    assert (begins.pause, begins.reason, begins.freeze) == ("begins", "later", True)
    await handle.unpause()
    await handle.result(timeout=30)


async def test_many_are_paused_so_and_what_is_no_flag_is_refused(app: Romancy) -> None:
    handles = [await app.start(naps.options(instance_id=f"n{number}"), 3600) for number in range(3)]
    for handle in handles:
        await status_is(app, handle.instance_id, Status.WAITING)
    with pytest.raises(UsageError, match="freeze_time must be True or False, not 'yes'"):
        await app.pause("n0", freeze_time="yes")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(UsageError, match="freeze_time"):
        await app.pause_many(everything=True, freeze_time=1)  # type: ignore[arg-type]  # the mistake
    assert await handles[0].status() is Status.WAITING
    assert len(await app.pause_many(workflow_name=naps.name, freeze_time=True)) == 3
    for handle in handles:
        await logged(handle, OwnerChanged)
        assert any(getattr(event, "freeze", False) for event in await handle.history())
        await app.terminate(handle.instance_id)


@pytest.mark.parametrize("worker", [True, False], ids=["its worker", "no worker"])
async def test_what_is_appended_from_outside_has_its_time(app: Romancy, open_app: Open, *, worker: bool) -> None:
    """Whoever acts knows the database's time, also right behind an event that is old."""
    ids, old = ("paused", "ended", "rewound"), 0
    for id in ids:
        await app.start(naps.options(instance_id=id), 3600)
        await status_is(app, id, Status.WAITING)
        old = max(old, *(event.at for event in await app.history(id) if isinstance(event, Input)))
    await passed(old + 50_000)
    acting = app if worker else await open_app(worker=False)

    await acting.pause("paused")
    await acting.unpause("paused")
    await acting.terminate("ended")
    await acting.pause("rewound")
    await acting.rewind("rewound", at=1)
    await acting.fork("paused", at=2, id="fork")

    for id in (*ids, "fork"):
        inputs = [event for event in await app.history(id) if isinstance(event, Input)]
        assert inputs[-1].at > old + 50_000, (id, inputs[-1])

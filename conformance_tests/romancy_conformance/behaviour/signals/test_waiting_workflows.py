"""Workflows that wait: timers, signals, children, cancellation and compensation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from romancy import (
    EventTimeoutError,
    EventType,
    Romancy,
    Status,
    TerminalError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.core import WorkflowStarted
from romancy_conformance.behaviour.cast import act, charge, does, fails, record
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Paid = EventType("paid", int)


@workflow
async def naps(ctx: WorkflowContext) -> float:
    before = ctx.now()
    await ctx.sleep(0.1)
    await asyncio.sleep(0.1)
    return (ctx.now() - before).total_seconds()


@workflow
async def reminds(ctx: WorkflowContext, due: datetime) -> datetime:
    await act("before")
    await ctx.sleep(due - ctx.now() - timedelta(days=1))
    await ctx.sleep_until(due)
    return ctx.now()


@workflow
async def naive(ctx: WorkflowContext) -> None:
    await ctx.sleep_until(datetime(2040, 1, 1))  # noqa: DTZ001 - that is the mistake


@workflow
async def long_nap(ctx: WorkflowContext) -> str:
    await act("before")
    await ctx.sleep(timedelta(hours=1))
    return "after"


@workflow
async def waits(ctx: WorkflowContext) -> int:
    first = await ctx.wait_event(Paid)
    second = await ctx.wait_event(Paid, key="b")
    return first.data * 100 + second.data


@workflow
async def impatient(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_event("never", timeout=0.2)
    except EventTimeoutError:
        return await act("timed out")
    return "came"


@workflow
async def double(ctx: WorkflowContext, number: int) -> int:
    await act(f"double {number}")
    return number * 2


@workflow
async def family(ctx: WorkflowContext, count: int) -> list[int]:
    handles = [await ctx.start(double, number) for number in range(count)]
    first = await double(100)
    return [first, *[await handle.result() for handle in handles]]


@workflow
async def parent_of_broken(ctx: WorkflowContext) -> str:
    try:
        await fails()
    except WorkflowFailedError as error:
        return error.error_type.rpartition(".")[2]
    return "fine"


@workflow
async def saga(ctx: WorkflowContext, tag: str) -> None:
    await charge(f"{tag} 1")
    await asyncio.gather(charge(f"{tag} 2"), act("neutral"))
    await charge(f"{tag} 3")
    raise TerminalError("out of luck")


@workflow
async def tells(ctx: WorkflowContext) -> None:
    await ctx.report({"done": 1, "of": 2})
    await act("one")
    await ctx.report({"done": 2, "of": 2})
    await ctx.wait_event("never")


@workflow
async def counts_down(ctx: WorkflowContext, number: int) -> str:
    await act(f"run {number}")
    if number:
        counts_down.recur(number - 1)
    return f"lift off {ctx.instance_id}"


async def test_sleeping_takes_its_time_by_the_log(app: Romancy) -> None:
    """Never less; how much more depends on the machine."""
    assert 0.2 <= await app.run(naps) < 30


async def test_a_sleep_until_a_moment_survives_its_worker(open_app: Open, storage_url: str) -> None:
    front = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[reminds]):
        due = datetime.now(UTC) + timedelta(seconds=3)
        handle = await front.start(reminds, due)
        await status_is(front, handle.instance_id, Status.WAITING)

    app = await open_app()
    assert due <= await handle.result(timeout=60)
    assert (await app.run(reminds, due)) - due < timedelta(minutes=1), "it is over, so nothing is waited for"


async def test_a_moment_without_a_time_zone_is_refused(app: Romancy) -> None:
    with pytest.raises(WorkflowFailedError, match="the moment of sleep_until: it has no time zone"):
        await app.run(naive)


async def test_a_signal_or_a_cancellation_begins_a_delayed_start_at_once(app: Romancy) -> None:
    woken = await app.start(waits.options(delay=3600))
    ended = await app.start(waits.options(delay=3600))

    await woken.signal(Paid, 1)
    await woken.signal(Paid, 2, key="b")
    await ended.cancel("no more")

    assert await woken.result(timeout=60) == 102
    await status_is(app, ended.instance_id, Status.CANCELLED)


async def test_a_long_sleep_is_nobodys(app: Romancy) -> None:
    handle = await app.start(long_nap)
    await status_is(app, handle.instance_id, Status.WAITING)

    instance = await app.get_instance(handle.instance_id)

    assert instance is not None
    assert instance.wakes_at is not None
    assert timedelta(minutes=59) < instance.wakes_at - instance.updated_at <= timedelta(hours=1)


async def test_signals_sent_early_and_late(app: Romancy) -> None:
    handle = await app.start(waits)
    await handle.signal(Paid, 2, key="b")
    await handle.signal(Paid, 9, key="other")
    await handle.signal(Paid, 3, key="b")  # the last it needs: a later one might find it ended

    assert await handle.result(timeout=60) == 203


async def test_a_signal_from_another_app(app: Romancy, open_app: Open) -> None:
    other = await open_app(worker=False)
    handle = await app.start(waits)
    await status_is(app, handle.instance_id, Status.WAITING)

    await other.signal(handle.instance_id, Paid, 1)
    await other.signal(handle.instance_id, "paid", 2, key="b")

    assert await handle.result(timeout=60) == 102


async def test_a_signal_to_the_ended_is_refused(app: Romancy) -> None:
    handle = await app.start(impatient)
    assert await handle.result(timeout=60) == "timed out"

    with pytest.raises(UsageError, match="has ended"):
        await handle.signal("never")


async def test_children_in_line_and_at_once(app: Romancy) -> None:
    assert await app.run(family, 5) == [200, 0, 2, 4, 6, 8]


async def test_a_childs_failure_is_its_parents_to_handle(app: Romancy) -> None:
    assert await app.run(parent_of_broken) == "TerminalError"


async def test_a_failed_saga_is_undone_last_first(app: Romancy) -> None:
    handle = await app.start(saga, "failed")

    with pytest.raises(WorkflowFailedError, match="out of luck"):
        await handle.result(timeout=60)

    undone = [name for name in record.names() if name.startswith("refund")]
    assert undone == ["refund failed 3", "refund failed 2", "refund failed 1"]


async def test_a_cancelled_saga_is_undone_too(app: Romancy) -> None:
    handle = await app.start(does, ["charge a desk", "charge a lamp", "wait never"])
    await status_is(app, handle.instance_id, Status.WAITING)

    assert await handle.cancel("changed my mind")
    with pytest.raises(WorkflowCancelledError, match="changed my mind"):
        await handle.result(timeout=60)

    assert record.names()[2:] == ["refund charge a lamp", "refund charge a desk"]
    assert not await handle.cancel()
    assert await handle.status() is Status.CANCELLED


async def test_continuing_as_new_keeps_the_id(app: Romancy) -> None:
    handle = await app.start(counts_down.options(instance_id="countdown"), 3)

    assert await handle.result(timeout=60) == "lift off countdown"
    runs = [event.run for event in await handle.history() if isinstance(event, WorkflowStarted)]
    assert runs == [1, 2, 3, 4]


async def test_progress_is_there_for_whoever_asks(app: Romancy, open_app: Open) -> None:
    handle = await app.start(tells)
    await status_is(app, handle.instance_id, Status.WAITING)
    other = await open_app(worker=False)

    assert await other.handle(handle.instance_id).report() == {"done": 2, "of": 2}
    assert await app.handle((await app.start(naps)).instance_id).report() is None

"""What a moving clock might overtake, and what keeps it where it is."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from romancy import (
    EventTimeoutError,
    RetryPolicy,
    Status,
    WorkflowContext,
    WorkflowStuckError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
START = datetime(2030, 1, 1, tzinfo=UTC)
begun, release = threading.Event(), threading.Event()


@activity
def on_a_thread() -> int:
    begun.set()
    assert release.wait(60)
    return 1


@activity
async def quick(number: int) -> int:
    return number


@activity
async def write(key: str, value: int) -> None:
    session = await activity_context().session()
    await session.execute("create table if not exists days (k text, n integer)")
    await session.execute("insert into days (k, n) values (?, ?)", key, value)


@compensation
async def slowly_undo(result: int, number: int) -> None:
    pass


@activity(compensation=slowly_undo)
async def undoable(number: int) -> int:
    return number


@activity(retry=RetryPolicy.exponential(5, DAY, 10 * DAY))
async def flaky() -> int:
    raise ConnectionError("away")


@workflow
async def beside_a_thread(ctx: WorkflowContext) -> str:
    working = asyncio.ensure_future(on_a_thread())
    try:
        async with asyncio.timeout(86_400):
            return f"in time: {await asyncio.shield(working)}"
    except TimeoutError:
        return "timed out"


@workflow
async def busy(ctx: WorkflowContext) -> int:
    for number in range(10**6):
        await quick(number)
    return 0


@workflow
async def undone_after_days(ctx: WorkflowContext) -> None:
    for number in range(3):
        await undoable(number)
        await ctx.sleep(DAY)
    raise ValueError("no use")


@workflow
async def saves(ctx: WorkflowContext) -> None:
    for day in range(5):
        await write("day", day)
        await ctx.sleep(DAY)


@workflow
async def away(ctx: WorkflowContext) -> int:
    return await flaky()


@workflow
async def patient(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_event("first", timeout=DAY)
    except EventTimeoutError:
        second = await ctx.wait_event("second", model=str, timeout=DAY)
        return second.data
    return "first"


@workflow(name="versioned")
async def old_code(ctx: WorkflowContext) -> None:
    await quick(1)
    await ctx.sleep(DAY)


@workflow(name="versioned")
async def other_code(ctx: WorkflowContext) -> None:
    await quick(2)
    await ctx.sleep(DAY)


async def test_no_moment_passes_while_a_thread_is_at_work() -> None:
    release.clear()
    async with TestApp([beside_a_thread], now=START) as app:
        handle = await app.start(beside_a_thread)
        waiting = asyncio.create_task(handle.result())
        assert await asyncio.to_thread(begun.wait, 60)
        for _ in range(500):
            await asyncio.sleep(0)
        assert (app.now, app.skips) == (START, 0)
        release.set()
        assert await waiting == "in time: 1"
        assert app.now == START


async def test_a_workflow_that_never_waits_lets_no_time_pass_and_its_test_ends_at_once() -> None:
    async with TestApp([busy], now=START) as app:
        handle = await app.start(busy)
        with pytest.raises(TimeoutError, match="has not ended within"):
            await handle.result(timeout=0.05)
        assert (app.now, app.skips) == (START, 0)


async def test_a_saga_is_undone_after_days() -> None:
    async with TestApp([undone_after_days], now=START) as app:
        handle = await app.start(undone_after_days)
        await app.advance(10 * DAY)
        assert await handle.status() is Status.FAILED
        undone = app.calls.of("slowly_undo")
        assert [call.args for call in undone] == [(2, 2), (1, 1), (0, 0)]
        assert {call.at for call in undone} == {START + 3 * DAY}


async def test_transactional_activities_commit_between_jumps() -> None:
    async with TestApp([saves], now=START) as app:
        await app.run(saves)
        assert (app.skips, app.now) == (5, START + 5 * DAY)
        assert [call.args for call in app.calls] == [("day", day) for day in range(5)]


async def test_pauses_of_days_between_attempts_pass_and_a_signal_beside_them_is_in_time() -> None:
    async with TestApp([away, patient], now=START) as app:
        failing, waiting = await app.start(away), await app.start(patient)
        await app.advance(1.5 * DAY)
        await waiting.signal("second", "there")
        assert await waiting.result() == "there"
        assert app.now == START + 1.5 * DAY
        app.mock(flaky, 7)
        assert await failing.result() == 7
        assert [call.outcome for call in app.calls.of(flaky)][:1] == ["failed"]


async def test_a_gated_fake_holds_time_and_a_cancellation_frees_it() -> None:
    gate = asyncio.Event()

    async def gated(number: int) -> int:
        await gate.wait()
        return number

    async with TestApp([busy], now=START) as app:
        app.mock(quick, gated)
        handle = await app.start(busy)
        advancing = asyncio.create_task(app.advance(DAY))
        for _ in range(200):
            await asyncio.sleep(0)
        assert app.now == START
        await handle.cancel("enough")
        await advancing
        assert (await handle.status(), app.now) == (Status.CANCELLED, START + DAY)
        assert app.calls[0].outcome == "cancelled"


async def test_code_that_does_not_fit_is_reported_and_does_not_stop_the_clock() -> None:
    async with TestApp([old_code], now=START, sticky=0) as app:
        handle = await app.start(old_code)
        await app.settle()
        await app.restart([other_code, patient])
        await app.advance(2 * DAY)
        with pytest.raises(WorkflowStuckError):
            await handle.result()
        with pytest.raises(Exception, match="EventTimeoutError"):
            await app.run(patient)
        assert app.now == START + 4 * DAY


async def test_a_crash_in_the_middle_of_a_sleep_goes_on() -> None:
    async with TestApp([saves], now=START) as app:
        handle = await app.start(saves)
        await app.advance(2.5 * DAY)
        await app.crash()
        await app.crash()
        await handle.result()
        assert app.now == START + 5 * DAY
        assert len(app.calls) == 5


async def test_two_advances_at_once_move_one_after_the_other() -> None:
    async with TestApp([saves], now=START) as app:
        await app.start(saves)
        await asyncio.gather(app.advance(DAY), app.advance(2 * DAY))
        assert app.now == START + 3 * DAY


async def test_a_delayed_start_begins_in_time() -> None:
    async with TestApp([away], now=START) as app:
        app.mock(flaky, 3)
        handle = await app.start(away.options(delay=7 * DAY))
        await app.advance(7 * DAY - timedelta(microseconds=1))
        assert len(app.calls) == 0
        assert await handle.result() == 3
        assert app.now == START + 7 * DAY


async def test_what_is_stored_has_the_time_of_the_test() -> None:
    async with TestApp([saves], now=START) as app:
        handle = await app.start(saves)
        await app.advance(2 * DAY)
        found = await app.get_instance(handle.instance_id, waits=True)
        assert found is not None
        assert (found.created_at, found.updated_at) == (START, START + 2 * DAY)
        assert "at work" not in " ".join(await handle.explain())


@workflow
async def waits_for_the_boss(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event("approved", model=str)).data


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.testing._time._SAY_AFTER", 0.3)


@pytest.mark.usefixtures("impatient")
async def test_a_run_that_waits_for_nothing_due_is_an_error_that_says_what_is_open() -> None:
    async with TestApp([waits_for_the_boss]) as app:
        with pytest.raises(AssertionError, match=r"nothing is due(.|\n)*It waits for the event 'approved'"):
            await app.run(waits_for_the_boss)
        handle = await app.start(waits_for_the_boss)
        with pytest.raises(AssertionError, match="nothing is due"):
            await handle.result()
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.05)
        await handle.signal("approved", "yes")
        assert await handle.result() == "yes"


@pytest.mark.usefixtures("impatient")
async def test_a_run_beside_a_sender_is_no_error() -> None:
    async def approve() -> None:
        for _ in range(8):
            await asyncio.sleep(0.1)
            await app.signal("mine", "noise")
        await app.signal("mine", "approved", "yes")

    async with TestApp([waits_for_the_boss]) as app:
        running = asyncio.create_task(app.run(waits_for_the_boss.options(instance_id="mine")))
        await app.settle()
        with app.skipping():  # the test waits for something of its own
            await approve()
        assert await running == "yes"


@pytest.mark.usefixtures("impatient")
async def test_an_activity_that_takes_long_is_no_wait_for_nothing() -> None:
    begun.clear()
    release.clear()
    async with TestApp([calls_a_thread]) as app:
        asyncio.get_running_loop().call_later(1.0, release.set)
        assert await app.run(calls_a_thread) == 1


@workflow
async def calls_a_thread(ctx: WorkflowContext) -> int:
    return await on_a_thread()


@workflow
async def tells_the_time(ctx: WorkflowContext) -> list[str]:
    told = [ctx.now().isoformat()]
    await quick(1)
    await ctx.sleep(3600)
    child = await ctx.start(patient.options(delay=60))
    await child.result()
    return [*told, ctx.now().isoformat()]


async def test_a_test_may_begin_before_1970() -> None:
    begins = datetime(1960, 1, 1, tzinfo=UTC)
    async with TestApp([tells_the_time, patient], now=begins) as app:
        handle = await app.start(tells_the_time)
        await app.advance(timedelta(hours=2))
        await app.signal(f"{handle.instance_id}", "nothing")
        told = await handle.explain()
        assert not any("ago" in line and "d" in line.split("ago")[0][-8:] for line in told), told
        children = await app.list_instances(parent=handle.instance_id)
        oldest = await app.list_instances(oldest_first=True, started_after=begins)
        assert [handle.instance_id, children.instances[0].instance_id] == [one.instance_id for one in oldest.instances]
        assert (2, 1) == (await app.count(started_after=begins), await app.count(top_level=True))
        await app.signal(children.instances[0].instance_id, "first")
        assert await handle.result() == ["1960-01-01T00:00:00+00:00", "1960-01-01T02:00:00+00:00"]
        assert app.now == begins + timedelta(hours=2)
        instance = await app.get_instance(handle.instance_id)
        assert instance is not None
        assert (instance.created_at, instance.updated_at) == (begins, begins + timedelta(hours=2))

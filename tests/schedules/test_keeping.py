"""What becomes of ticks: on time, beside an open run, late, and while the schedule is paused. In the time of a test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Schedule, ScheduleHandle, Status, WorkflowContext, workflow
from romancy.core import WorkflowStarted
from romancy.testing import TestApp

if TYPE_CHECKING:
    from romancy._schedule_options import Catchup, Overlap

pytestmark = pytest.mark.anyio

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
GO = EventType("go", str)


@workflow
async def quick(ctx: WorkflowContext) -> str:
    return f"at {ctx.scheduled_at}"


@workflow
async def gated(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event(GO)).data


@workflow
async def failing(ctx: WorkflowContext) -> None:
    raise ValueError("no data tonight")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def app(hour: float = 0) -> TestApp:
    return TestApp([quick, gated, failing], now=NEW_YEAR + hour * HOUR, skip=False)


async def seen(handle: ScheduleHandle) -> Schedule:
    found = await handle.get()
    assert found is not None
    return found


def run(number: int, schedule: str = "hourly") -> str:
    return f"{schedule}@2026-01-01T{number:02}:00:00Z"


async def test_a_year_of_daily_ticks() -> None:
    async with app() as it:
        handle = await it.schedule("daily", quick.bind(), cron="30 2 * * *", tz="Europe/Berlin")
        await it.advance(timedelta(days=365))
        found = await seen(handle)
        assert (found.started, found.skipped) == (365, 0)
        assert len([one async for one in it.iter_instances(workflow_name="quick")]) == 365
        assert len(await it.history(handle.instance_id)) < 5_000


async def test_ticks_beside_an_open_run_are_skipped() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", gated.bind(), every=HOUR)
        await it.advance(4.5 * HOUR)
        assert (await seen(handle)).started == 1
        await it.signal(run(1), GO, "on")
        await it.advance(HOUR)
        found = await seen(handle)
        assert [one.instance_id for one in found.runs] == [run(1), run(5)]
        assert (found.skipped, found.next) == (3, NEW_YEAR + 6 * HOUR)


async def test_one_tick_is_kept_until_the_run_has_ended() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", gated.bind(), every=HOUR, overlap="buffer_one")
        await it.advance(4.5 * HOUR)
        await it.signal(run(1), GO, "on")
        await it.settle()
        found = await seen(handle)
        assert [(one.instance_id, one.outcome) for one in found.runs] == [(run(1), "completed"), (run(2), "open")]
        assert found.skipped == 2
        await it.signal(run(2), GO, "on")
        await it.advance(HOUR)
        assert [one.instance_id for one in (await seen(handle)).runs] == [run(1), run(2), run(5)]


async def test_runs_that_may_overlap_start_on_time() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", gated.bind(), every=HOUR, overlap="allow")
        await it.advance(4.5 * HOUR)
        found = await seen(handle)
        assert [(one.instance_id, one.outcome) for one in found.runs] == [(run(n), "open") for n in (1, 2, 3, 4)]
        await it.signal(run(2), GO, "on")
        await it.settle()
        assert [one.outcome for one in (await seen(handle)).runs] == ["open", "completed", "open", "open"]


async def test_a_schedule_with_runs_that_never_end_keeps_a_bounded_log() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", gated.bind(), every=60, overlap="allow")
        await it.advance(timedelta(minutes=1100))
        found = await seen(handle)
        assert found.started == 1100
        instance = await it.get_instance(handle.instance_id)
        assert instance is not None
        assert await it.count(workflow_name="gated")
        assert len(found.runs) == 10


async def test_what_is_due_while_paused_is_not_started_later() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", quick.bind(), every=HOUR, catchup="all")
        await it.advance(1.5 * HOUR)
        await handle.pause()
        await it.advance(2 * HOUR)
        await handle.resume()
        await it.settle()
        assert (await seen(handle)).next == NEW_YEAR + 4 * HOUR
        await it.advance(HOUR)
        found = await seen(handle)
        assert [one.instance_id for one in found.runs] == [run(1), run(4)]
        assert found.skipped == 0


async def test_a_failed_run_pauses_the_schedule_that_asks_for_it() -> None:
    async with app() as it:
        careless = await it.schedule("careless", failing.bind(), every=HOUR)
        careful = await it.schedule("careful", failing.bind(), every=HOUR, pause_on_failure=True)
        await it.advance(3.5 * HOUR)
        found = await seen(careful)
        assert (found.paused, found.failed, found.next) == (f"{run(1, 'careful')} failed", 1, None)
        assert (await seen(careless)).failed == 3
        await careful.resume()
        await it.advance(HOUR)
        assert [one.instance_id for one in (await seen(careful)).runs] == [run(1, "careful"), run(4, "careful")]


async def test_a_cancelled_run_is_no_failure() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", gated.bind(), every=HOUR, pause_on_failure=True)
        await it.advance(1.5 * HOUR)
        await it.cancel(run(1))
        await it.advance(HOUR)
        found = await seen(handle)
        assert [one.outcome for one in found.runs] == ["cancelled", "open"]
        assert (found.paused, found.failed) == (None, 0)


async def test_a_trigger_follows_the_rule_for_overlaps() -> None:
    async with app() as it:
        handle = await it.schedule("yearly", gated.bind(), cron="0 0 1 1 *")
        await handle.trigger()
        await handle.trigger()
        await handle.trigger(overlap="buffer_one")
        await handle.trigger(overlap="buffer_one")
        await it.settle()
        found = await seen(handle)
        assert (found.started, found.skipped) == (1, 1)
        await it.signal(found.runs[0].instance_id, GO, "on")
        await it.settle()
        assert (await seen(handle)).started == 2


async def test_a_long_backfill_goes_on_over_several_runs_of_the_schedule() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", quick.bind(), cron="0 * * * *")
        await handle.backfill(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 11, 15, tzinfo=UTC))
        await it.settle()
        assert (await seen(handle)).started == 256
        assert len([one async for one in it.iter_instances(workflow_name="quick")]) == 256


async def test_a_long_backlog_is_made_up_for_in_several_runs_of_the_schedule() -> None:
    async with app(23) as it:
        moments = [NEW_YEAR + timedelta(minutes=n) for n in range(1, 701)]
        handle = await it.schedule("many", quick.bind(), at=moments, catchup="all", overlap="allow")
        await it.settle()
        found = await seen(handle)
        assert (found.started, found.next) == (700, None)
        runs = [one async for one in it.iter_instances(workflow_name="quick")]
        assert len(runs) == 700
        begun = [event for event in await it.history(handle.instance_id) if isinstance(event, WorkflowStarted)]
        assert len(begun) > 1


@pytest.mark.parametrize("year", [2020, 2040])
async def test_the_next_ticks_are_in_the_time_of_the_test(year: int) -> None:
    async with TestApp([quick], now=datetime(year, 1, 1, tzinfo=UTC), skip=False) as it:
        handle = await it.schedule("daily", quick.bind(), cron="0 2 * * *")
        await it.settle()
        assert await handle.next(2) == [datetime(year, 1, day, 2, tzinfo=UTC) for day in (1, 2)]


async def test_orders_that_come_at_once_are_all_obeyed() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", quick.bind(), every=HOUR, overlap="allow")
        for _ in range(250):
            await handle.trigger()
        await handle.pause("enough")
        await it.settle()
        found = await seen(handle)
        assert (found.started, found.paused) == (250, "enough")


async def test_a_declaration_right_behind_a_deletion_holds() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", quick.bind(), every=HOUR)
        await it.settle()
        await handle.order_delete()
        await it.schedule("hourly", quick.bind(), every=2 * HOUR)
        await it.advance(2.5 * HOUR)
        assert [one.instance_id for one in (await seen(handle)).runs] == [run(2)]


async def test_what_comes_behind_a_deletion_starts_nothing() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", quick.bind(), every=HOUR)
        await it.advance(1.5 * HOUR)
        await handle.order_delete()
        await handle.trigger()
        await handle.backfill(datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
        await it.settle()
        assert [one.instance_id async for one in it.iter_instances(parent=handle.instance_id)] == [run(1)]


async def test_the_jitter_is_a_delay_of_each_run() -> None:
    async with app() as it:
        await it.schedule("hourly", quick.bind(), every=24 * HOUR, jitter=2 * HOUR)
        await it.advance(24 * HOUR)
        instance = await it.get_instance("hourly@2026-01-02T00:00:00Z")
        assert instance is not None
        assert instance.status is Status.PENDING
        await it.advance(2 * HOUR)
        assert await it.handle(instance.instance_id, quick).result() == "at 2026-01-02 00:00:00+00:00"


async def test_a_change_takes_what_was_due_before_with_the_former_definition() -> None:
    async with app() as it:
        handle = await it.schedule("hourly", quick.bind(), every=HOUR)
        await it.advance(2.5 * HOUR)
        await it.schedule("hourly", quick.bind(), every=6 * HOUR)
        await it.advance(4 * HOUR)
        assert [one.instance_id for one in (await seen(handle)).runs] == [run(1), run(2), run(6)]


async def advance_to(it: TestApp, moment: datetime, died: asyncio.Event) -> bool:
    """Let time pass until this moment. True: the worker died on the way."""
    advancing = asyncio.create_task(it.advance(moment - it.now))
    dying = asyncio.create_task(died.wait())
    await asyncio.wait({advancing, dying}, return_when=asyncio.FIRST_COMPLETED)
    for task in (advancing, dying):
        task.cancel()
    await asyncio.gather(advancing, dying, return_exceptions=True)
    return died.is_set()


@pytest.mark.parametrize(("catchup", "number"), [("all", 3), ("one", 2), ("none", 1)])
async def test_moments_that_are_over_when_they_are_declared_are_late(catchup: Catchup, number: int) -> None:
    async with app(4.5) as it:
        moments = [NEW_YEAR + n * HOUR for n in (1, 2, 5)]
        handle = await it.schedule("hourly", quick.bind(), at=moments, catchup=catchup, overlap="allow")
        await it.advance(HOUR)
        assert (await seen(handle)).started == number
        await it.schedule("hourly", quick.bind(), at=[*moments, NEW_YEAR + 6 * HOUR], catchup=catchup, overlap="allow")
        await it.advance(HOUR)
        assert (await seen(handle)).started == number + 1


@pytest.mark.parametrize("overlap", ["skip", "allow"])
async def test_a_crash_after_any_commit_starts_no_tick_twice_and_leaves_none_out(overlap: Overlap) -> None:
    for commits in range(1, 100):
        async with app() as it:
            handle = await it.schedule("hourly", quick.bind(), every=HOUR, overlap=overlap)
            died, deaths = it.dies_after(commits), 0
            for half in range(1, 10):
                if await advance_to(it, NEW_YEAR + half * HOUR / 2, died):
                    died, deaths = asyncio.Event(), 1
                    await it.crash()
                    await it.advance(NEW_YEAR + half * HOUR / 2 - it.now)
            ids = sorted([one.instance_id async for one in it.iter_instances(workflow_name="quick")])
            assert ids == [run(n) for n in (1, 2, 3, 4)], commits
            found = await seen(handle)
            assert (found.started, found.skipped) == (4, 0), commits
            if not deaths:
                assert commits > 10
                return
    raise AssertionError("it commits too often")

"""A test app: time that passes by itself and by command, and what ends a test early."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from romancy import (
    Channel,
    EventTimeoutError,
    InstanceEndedError,
    RequestRefusedError,
    RequestType,
    RetryPolicy,
    Status,
    UsageError,
    WorkflowContext,
    WorkflowTimeoutError,
    activity,
    workflow,
)
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
START = datetime(2030, 1, 1, tzinfo=UTC)
InDays = RequestType("in_days", int, str)


@activity
async def note(what: str) -> str:
    return what


@activity
def on_a_thread(release: int) -> int:
    return release


@workflow
async def sleeper(ctx: WorkflowContext, days: int) -> int:
    for day in range(days):
        await note(f"day {day}")
        await ctx.sleep(DAY)
    return days


@workflow
async def tells_of_days(ctx: WorkflowContext, days: int) -> None:
    for day in range(days):
        await ctx.report(day)
        await ctx.sleep(DAY)


@workflow
async def answers_in_days(ctx: WorkflowContext, patience: int) -> datetime:
    async def later(days: int) -> str:
        await ctx.sleep(days * DAY)
        return f"{days} days later"

    def soon(days: int) -> None:
        if days > patience:
            raise ValueError("that is too late")

    async with ctx.handling(InDays.by(later, validate=soon)):
        await ctx.sleep(patience * DAY)
    return ctx.now()


@workflow
async def offer(ctx: WorkflowContext, patience: timedelta) -> str:
    try:
        return (await ctx.wait_event("answer", model=str, timeout=patience)).data
    except EventTimeoutError:
        return "too late"


@workflow
async def parent(ctx: WorkflowContext) -> list[int]:
    first = await ctx.start(sleeper, 2)
    second = await ctx.start(sleeper, 3)
    return [await first.result(), await second.result()]


@workflow
async def endless(ctx: WorkflowContext, run: int = 1) -> None:
    await ctx.sleep(DAY)
    if run < 5:
        endless.recur(run + 1)


@workflow
async def stubborn(ctx: WorkflowContext) -> str:
    return await note.options(retry=RetryPolicy.fixed(4, 3600))("again")


news: Channel[str] = Channel("news", str)


@workflow
async def reader(ctx: WorkflowContext) -> str:
    channel = ctx.channel(news)
    await channel.subscribe()
    await ctx.sleep(DAY)
    return (await channel.receive(timeout=DAY)).data


async def test_a_test_that_waits_for_a_result_lets_time_pass() -> None:
    async with TestApp([sleeper], now=START) as app:
        assert await app.run(sleeper, 3) == 3
        assert (app.now, app.skips) == (START + 3 * DAY, 3)
        assert [call.at for call in app.calls.of(note)] == [START, START + DAY, START + 2 * DAY]


async def test_a_test_that_waits_for_a_report_lets_time_pass() -> None:
    async with TestApp([tells_of_days], now=START) as app:
        handle = await app.start(tells_of_days, 400)
        assert await handle.report(wait=(300).__le__, timeout=30) >= 300

        with pytest.raises(InstanceEndedError):
            await handle.report(wait=(500).__le__, timeout=30)


async def test_a_test_that_waits_for_a_reply_lets_time_pass() -> None:
    async with TestApp([answers_in_days], now=START) as app:
        handle = await app.start(answers_in_days, 30)

        assert await handle.request(InDays, 3, timeout=30) == "3 days later"
        assert app.now == START + 3 * DAY

        with pytest.raises(RequestRefusedError):
            await handle.request(InDays, 31, timeout=30)
        assert app.now == START + 3 * DAY
        assert await handle.request(InDays, 2, timeout=30) == "2 days later"
        assert await handle.result() == START + 30 * DAY


async def test_time_stands_still_while_the_test_waits_for_nothing() -> None:
    async with TestApp([offer], now=START) as app:
        handle = await app.start(offer, DAY)
        for _ in range(200):
            await asyncio.sleep(0)
        assert (app.now, app.skips) == (START, 0)
        await handle.signal("answer", "yes")
        assert await handle.result() == "yes"
        assert app.skips == 0
        assert await app.run(offer, DAY) == "too late"
        assert app.now == START + DAY


async def test_advance_moves_exactly_and_stops_at_each_moment_on_the_way() -> None:
    async with TestApp([sleeper], now=START, skip=False) as app:
        handle = await app.start(sleeper, 3)
        await app.advance(timedelta(days=1, seconds=-1))
        assert len(app.calls) == 1
        await app.advance(timedelta(seconds=1))
        assert len(app.calls) == 2
        await app.advance(30 * DAY)
        assert [call.at for call in app.calls] == [START, START + DAY, START + 2 * DAY]
        assert (app.now, app.skips) == (START + 31 * DAY, 0)
        assert await handle.result() == 3


async def test_advance_by_nothing_lets_happen_what_can_happen_now() -> None:
    async with TestApp([sleeper], now=START) as app:
        await app.start(sleeper, 1)
        await app.advance(timedelta())
        assert (len(app.calls), app.now) == (1, START)


@pytest.mark.parametrize("by", [timedelta(seconds=-1), -1, float("nan"), float("inf"), "a day", None])
async def test_what_is_no_length_of_time_is_refused_by_name(by: timedelta) -> None:
    async with TestApp([sleeper], now=START) as app:
        with pytest.raises((UsageError, ValueError, TypeError), match="the time to advance by"):
            await app.advance(by)
        assert app.now == START


def test_a_beginning_without_a_time_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a time zone"):
        TestApp([sleeper], now=datetime(2030, 1, 1))  # noqa: DTZ001 - as a user would


async def test_without_skipping_time_is_moved_by_advance_alone() -> None:
    async with TestApp([offer], now=START, skip=False) as app:
        handle = await app.start(offer, DAY)
        waiting = asyncio.create_task(handle.result())
        for _ in range(200):
            await asyncio.sleep(0)
        assert app.now == START
        with app.skipping():
            assert await waiting == "too late"


async def test_a_hold_lets_a_test_signal_beside_a_wait_for_the_result() -> None:
    async with TestApp([offer], now=START) as app:
        handle = await app.start(offer, DAY)
        with app.hold():
            waiting = asyncio.create_task(handle.result())
            await app.advance(DAY / 2)
            await handle.signal("answer", "yes")
            assert await waiting == "yes"
        assert app.now == START + DAY / 2


async def test_children_sleep_beside_each_other() -> None:
    async with TestApp([parent, sleeper], now=START) as app:
        assert await app.run(parent) == [2, 3]
        assert app.now == START + 3 * DAY


async def test_runs_that_recur_go_on() -> None:
    async with TestApp([endless], now=START) as app:
        await app.run(endless)
        assert app.now == START + 5 * DAY


async def test_pauses_between_attempts_pass() -> None:
    async with TestApp([stubborn], now=START) as app:
        errors = [ConnectionError("1"), ConnectionError("2")]

        def fake(what: str) -> str:
            if errors:
                raise errors.pop()
            return "at last"

        app.mock(note, fake)
        assert await app.run(stubborn) == "at last"
        assert [(call.attempt, call.outcome) for call in app.calls] == [(1, "failed"), (2, "failed"), (3, "completed")]
        assert app.calls[-1].at - app.calls[0].at == timedelta(hours=2)


async def test_a_message_of_a_channel_is_not_overtaken() -> None:
    async with TestApp([reader], now=START) as app:
        handle = await app.start(reader)
        await app.settle()
        await app.channel(news).publish("extra")
        assert await handle.result() == "extra"
        assert app.now == START + DAY


async def test_a_cancellation_ends_a_sleep() -> None:
    async with TestApp([sleeper], now=START) as app:
        handle = await app.start(sleeper, 1000)
        await app.advance(DAY * 2.5)
        await handle.cancel("enough")
        await app.settle()
        assert (await handle.status(), app.now) == (Status.CANCELLED, START + DAY * 2.5)


async def test_two_apps_have_a_time_each() -> None:
    async with TestApp([sleeper], now=START) as one, TestApp([sleeper], now=START) as other:
        await one.run(sleeper, 2)
        assert (one.now, other.now) == (START + 2 * DAY, START)
        assert len(other.calls) == 0
        assert await other.run(sleeper, 1) == 1


async def test_a_client_of_the_app_sees_the_same_database() -> None:
    async with TestApp([offer], now=START) as app, app.as_client() as client:
        handle = await client.start(offer, DAY)
        await app.handle(handle.instance_id).signal("answer", "yes")
        assert await app.handle(handle.instance_id).result() == "yes"


@pytest.mark.long
async def test_a_thousand_days_pass_in_a_thousand_skips() -> None:
    async with TestApp([sleeper], now=START) as app:
        app.mock(note, "done")
        assert await app.run(sleeper, 1000) == 1000
        assert (app.skips, app.now) == (1000, START + 1000 * DAY)


async def test_an_error_in_a_test_names_the_open_instances() -> None:
    async def a_test() -> None:
        async with TestApp([sleeper], now=START) as app:
            await app.start(sleeper.options(instance_id="left-open"), 9)
            await app.settle()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        await a_test()
    (told,) = raised.value.__notes__
    assert told.startswith("open: instance left-open of workflow sleeper.")


async def test_a_restart_goes_on_with_the_same_instances_and_the_same_time() -> None:
    async with TestApp([sleeper], now=START) as app:
        handle = await app.start(sleeper, 3)
        await app.advance(DAY)
        await app.restart()
        assert await handle.result() == 3
        assert app.now == START + 3 * DAY
        assert len(app.calls) == 3


async def test_an_app_that_is_not_open_says_so() -> None:
    app = TestApp([sleeper], now=START)
    with pytest.raises(UsageError, match="not open"):
        await app.advance(DAY)
    assert app.now == START


async def test_the_limit_of_an_instance_is_reached_without_waiting() -> None:
    async with TestApp([offer], now=START) as app:
        handle = await app.start(offer.options(timeout=DAY), 7 * DAY)
        with pytest.raises(WorkflowTimeoutError, match="reached its limit of 86400 s"):
            await handle.result()
        assert app.now == START + DAY


async def test_an_instance_that_ends_before_its_limit_leaves_no_time_behind() -> None:
    async with TestApp([offer], now=START) as app:
        handle = await app.start(offer.options(timeout=DAY), 7 * DAY)
        await handle.signal("answer", "yes")
        assert await handle.result() == "yes"
        assert app.now < START + DAY

"""How many begin, end and fail in a minute, and what waits for a worker: counted from the rows that are there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, Status, UsageError, Workflow, WorkflowContext, WorkflowFailedError, WorkflowRates, workflow
from romancy.testing import TestApp
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

HOUR = 3600.0
MENDED: set[str] = set()


@workflow
async def rates_quick(ctx: WorkflowContext, number: int) -> int:
    if number < 0 and not MENDED:
        raise ValueError("no such number")
    return number


@workflow
async def rates_slow(ctx: WorkflowContext) -> None:
    await ctx.wait_event("go")


@workflow
async def rates_asleep(ctx: WorkflowContext) -> None:
    await ctx.sleep(7 * HOUR)


WORKFLOWS: list[Workflow[..., Any]] = [rates_quick, rates_slow, rates_asleep]


async def of(app: Romancy, name: str, within: float = HOUR, *, most: int = 10_000) -> WorkflowRates | None:
    found = await app.rates(within, most=most)
    return next((one for one in found.workflows if one.workflow_name == name), None)


async def test_begins_ends_and_failures_are_counted_by_workflow(open_app: Open) -> None:
    app = await open_app(workflows=WORKFLOWS)
    assert (await app.rates()).workflows == []
    for number in (1, 2, 3):
        assert await app.run(rates_quick, number) == number
    with pytest.raises(WorkflowFailedError):
        await app.run(rates_quick, -1)
    slow = [await app.start(rates_slow) for _ in range(2)]
    for one in slow:
        await status_is(app, one.instance_id, Status.WAITING)

    found = await app.rates()

    assert [one.workflow_name for one in found.workflows] == ["rates_slow", "rates_quick"]
    waiting, quick = found.workflows
    assert (quick.open, quick.due, quick.oldest, quick.statuses) == (0, 0, None, {})
    assert (quick.begun, quick.ended, quick.failed, quick.change) == (0.0667, 0.0667, 0.0167, 0)
    assert (waiting.open, waiting.due, waiting.statuses, waiting.change) == (2, 0, {Status.WAITING: 2}, 2)
    assert (waiting.begun, waiting.ended, waiting.failed) == (0.0333, 0, 0)
    assert sum(one.begun for one in quick.over_time) == sum(one.ended for one in quick.over_time) == 4
    assert sum(one.failed for one in quick.over_time) == 1
    assert found.until - found.since == timedelta(hours=1)
    assert not found.partial
    assert found.uncounted == []


async def test_what_waits_for_a_worker_is_due(open_app: Open) -> None:
    """Also what slept: but not what sleeps, is paused, or has a worker."""
    client = await open_app(workflows=WORKFLOWS, worker=False)
    handles = await client.start_many([rates_slow.bind() for _ in range(5)])
    await client.start(rates_slow.options(delay=HOUR))
    await client.start(rates_slow.options(paused=True))

    before = await of(client, "rates_slow")
    app = await open_app(workflows=WORKFLOWS)
    for one in handles:
        await status_is(app, one.instance_id, Status.WAITING)
    after = await of(client, "rates_slow")

    assert before is not None
    assert after is not None
    assert (before.open, before.change, after.open) == (7, 7, 7)
    assert (before.due, after.due) == (5, 0)


async def test_a_retry_takes_an_end_back_and_a_purge_both(open_app: Open) -> None:
    app = await open_app(workflows=WORKFLOWS)
    handle = await app.start(rates_quick, -2)
    with pytest.raises(WorkflowFailedError):
        await handle.result()
    failed = await of(app, "rates_quick")
    MENDED.add("quick")
    try:
        await app.retry(handle.instance_id)
        await status_is(app, handle.instance_id, Status.COMPLETED)
    finally:
        MENDED.clear()
    mended = await of(app, "rates_quick")
    await app.purge(handle.instance_id)

    assert failed is not None
    assert mended is not None
    assert (failed.failed, failed.ended) == (0.0167, 0.0167)
    assert (mended.failed, mended.ended, mended.begun) == (0, 0.0167, 0.0167)
    assert await of(app, "rates_quick") is None


async def test_a_bound_shortens_the_time_and_is_told(open_app: Open) -> None:
    app = await open_app(workflows=WORKFLOWS)
    for number in range(6):
        await app.run(rates_quick, number)
    for _ in range(3):
        one = await app.start(rates_slow)
        await status_is(app, one.instance_id, Status.WAITING)

    found = await app.rates(most=2)
    whole = await app.rates(most=20)

    assert found.partial
    assert found.begun_since > found.since
    assert found.uncounted == [Status.WAITING]
    slow = next(one for one in found.workflows if one.workflow_name == "rates_slow")
    assert (slow.open, slow.more, slow.change) == (2, True, None)
    assert slow.begun == 2  # a rate of a minute at least
    assert not whole.partial
    assert not any(one.more for one in whole.workflows)


async def test_rates_follow_the_clock_of_a_test() -> None:
    """Ten begin each half an hour for five hours, and sleep seven hours."""
    async with TestApp(WORKFLOWS, skip=False) as app:
        for _ in range(10):
            await app.start_many([rates_asleep.bind() for _ in range(10)])
            await app.advance(HOUR / 2)
        found = await of(app, "rates_asleep", 6 * HOUR)
        last = await of(app, "rates_asleep")
        await app.advance(4 * HOUR)
        later = await of(app, "rates_asleep", 4 * HOUR)
        gone = await of(app, "rates_asleep", 60)

    assert found is not None
    assert last is not None
    assert later is not None
    assert [one.begun for one in found.over_time] == [0, 0, *[10] * 10]
    assert [one.open for one in found.over_time] == [0, 0, *range(10, 101, 10)]
    assert (found.begun, found.ended, found.change) == (round(100 / 360, 4), 0, 100)
    assert (last.begun, last.change) == (round(20 / 60, 4), 20)
    assert (later.begun, later.ended, later.open) == (0, round(50 / 240, 4), 50)
    assert later.change == -50
    assert [one.open for one in later.over_time][-1] == 50
    assert gone is not None
    assert (gone.begun, gone.ended) == (0, 10)  # those that began seven hours ago end at this very moment


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"within": 0}, "rates: within= must be more than 0 seconds; an hour is 3600"),
        ({"within": -1}, "rates: within= must be a finite number of seconds, at least 0"),
        ({"within": "1h"}, "rates: within= must be a number of seconds or a timedelta, not str"),
        ({"within": float("nan")}, "rates: within= must be a finite number"),
        ({"within": 1e12}, "rates: within= must be at most"),
        ({"most": 0}, "rates: most="),
        ({"most": True}, "rates: most="),
        ({"most": 1_000_001}, "rates: most= is at most 1,000,000, not 1000001"),
    ],
)
async def test_a_mistake_is_told_by_its_name(open_app: Open, given: dict[str, Any], words: str) -> None:
    app = await open_app(workflows=WORKFLOWS, worker=False)
    with pytest.raises(UsageError) as raised:
        await app.rates(**given)
    assert words in str(raised.value)

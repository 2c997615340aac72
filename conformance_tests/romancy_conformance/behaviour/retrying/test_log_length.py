"""A body reads how long the log of its run is: the same in a replay, on whatever worker, and from 0 in the next run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Romancy, Status, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Go = EventType("go", None)


@activity
async def length_step(number: int) -> int:
    return number


@workflow
async def length_of_each(ctx: WorkflowContext, abreast: int) -> list[int]:
    """Returns the lengths at which the body has looked: how often it waits shows how the inputs came."""
    seen = [ctx.log_length]
    await asyncio.gather(*(length_step(number) for number in range(abreast)))
    await ctx.sleep(0.01)
    seen.append(ctx.log_length)
    await ctx.wait_event(Go)
    return [*seen, ctx.log_length]


@workflow
async def length_of_runs(ctx: WorkflowContext, before: list[int]) -> list[int]:
    await length_step(1)
    seen = [*before, ctx.log_length]
    return seen if len(seen) == 2 else length_of_runs.recur(seen)


@workflow
async def length_of_many(ctx: WorkflowContext, batch: int) -> list[tuple[int, bool]]:
    """Returns the last length at which no new run was due, and the first at which one was."""
    last = ctx.log_length
    while not ctx.should_recur:
        last = ctx.log_length
        await asyncio.gather(*(length_step(number) for number in range(batch)))
    return [(last, last >= 4000), (ctx.log_length, ctx.should_recur)]


async def test_the_length_is_that_of_the_log(open_app: Open) -> None:
    app = await open_app()
    handle = await app.start(length_of_each, 3)
    await status_is(app, handle.instance_id, Status.WAITING)
    await handle.signal(Go)

    first, middle, last = await handle.result()

    log = await handle.history()
    assert first == 1
    assert middle == len(log) - 3, "the wait, the message and the end come behind it"
    assert last == len(log) - 1


async def test_the_length_goes_on_where_a_worker_has_ended(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[length_of_each]) as first:
        handle = await first.start(length_of_each.options(instance_id="l-1"), 2)
        await status_is(first, handle.instance_id, Status.WAITING)

    async with Romancy(storage_url, workflows=[length_of_each]) as second:
        await second.signal("l-1", Go)
        last = (await second.handle("l-1", length_of_each).result())[-1]
        assert last == len(await second.history("l-1")) - 1


async def test_a_new_run_begins_with_an_empty_log(open_app: Open) -> None:
    app = await open_app()

    first, second = await app.run(length_of_runs, [])

    assert second <= first + 1


async def test_a_run_of_four_thousand_events_should_end(open_app: Open) -> None:
    app = await open_app()

    (last, _), (length, should) = await app.run(length_of_many, 250)

    assert (last < 4000, length >= 4000, should) == (True, True, True)

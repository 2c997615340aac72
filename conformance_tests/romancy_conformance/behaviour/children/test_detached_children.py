"""Detached children: their parent gets their result if it waits, and its end leaves them alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RequestType,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.core import ChildCancelRequested
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import Handle

pytestmark = pytest.mark.anyio

Ask = RequestType("detached_ask", None, int)


@workflow
async def detached_child(ctx: WorkflowContext, number: int) -> int:
    """Waits for its event, or for its end, if it is below zero."""
    await ctx.wait_event("detached_go")
    if number < 0:
        raise ValueError(number)
    return number


@workflow
async def detached_parent(ctx: WorkflowContext, then: str) -> int:
    """Starts a child that it keeps and one that it does not, each under an id of its own."""
    alone = detached_child.options(instance_id=f"{ctx.instance_id}-alone", detached=True)
    if then == "await":
        return await alone(7)
    if then == "retried":
        child = await ctx.start(alone, 7)
        if ctx.run == 1:
            raise ValueError("the first run fails")
        return await child.result()
    kept = await ctx.start(detached_child.options(instance_id=f"{ctx.instance_id}-kept"), 1)
    if then == "give up":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(alone(7), 0.01)
    if then == "stop":
        stopped = await ctx.start(alone, 7)
        stopped.cancel()
        with pytest.raises(WorkflowCancelledError):
            await stopped.result()
        return 0
    child = await ctx.start(alone, 7) if then != "give up" else kept
    if then == "wait":
        return await child.result()
    if then == "return":
        return 0
    raise ValueError(then)


async def parent_of(app: Romancy, then: str) -> Handle[int]:
    return await app.start(detached_parent.options(instance_id=f"parent-{then.replace(' ', '-')}"), then)


async def goes_on(app: Romancy, child: str) -> int:
    """The result of the child, which nobody has asked to stop."""
    await app.signal(child, "detached_go")
    result: int = await app.handle(child).result()
    return result


async def test_a_parent_that_waits_gets_the_result(app: Romancy) -> None:
    waits = await parent_of(app, "await")
    await status_is(app, "parent-await-alone", Status.WAITING)
    await app.signal("parent-await-alone", "detached_go")

    assert await waits.result() == 7
    assert [one.instance_id for one in (await app.list_instances(parent="parent-await")).instances] == [
        "parent-await-alone"
    ]


@pytest.mark.parametrize("then", ["fail", "give up"])
async def test_a_parent_that_fails_stops_only_the_child_that_it_keeps(app: Romancy, then: str) -> None:
    failed = await parent_of(app, then)
    with pytest.raises(WorkflowFailedError):
        await failed.result()

    name = failed.instance_id
    assert await app.handle(f"{name}-kept").status() is Status.CANCELLED
    assert await goes_on(app, f"{name}-alone") == 7


async def test_a_parent_that_is_cancelled_while_it_waits_ends_at_once(app: Romancy) -> None:
    waits = await parent_of(app, "await")
    await status_is(app, "parent-await-alone", Status.WAITING)
    await waits.cancel()
    with pytest.raises(WorkflowCancelledError):
        await waits.result()

    assert not [event for event in await waits.history() if isinstance(event, ChildCancelRequested)]
    assert await goes_on(app, "parent-await-alone") == 7


async def test_a_handle_stops_a_detached_child(app: Romancy) -> None:
    assert await (await parent_of(app, "stop")).result() == 0
    assert await app.handle("parent-stop-alone").status() is Status.CANCELLED


async def test_a_retry_finds_the_child_that_went_on(app: Romancy) -> None:
    fails = await parent_of(app, "retried")
    with pytest.raises(WorkflowFailedError):
        await fails.result()
    await status_is(app, "parent-retried-alone", Status.WAITING)
    await app.retry("parent-retried")
    await status_is(app, "parent-retried", Status.WAITING)
    await app.signal("parent-retried-alone", "detached_go")

    assert await app.handle("parent-retried").result() == 7


async def test_a_purge_and_a_new_start_of_the_parent_leave_it(app: Romancy) -> None:
    ended = await parent_of(app, "return")
    await ended.result()
    await app.signal("parent-return-kept", "detached_go")
    await app.signal("parent-return-alone", "detached_go")
    for child in ("kept", "alone"):
        await app.handle(f"parent-return-{child}").result()
    purged = await app.purge("parent-return", children=True)
    waits = await parent_of(app, "wait")
    await status_is(app, "parent-wait-alone", Status.WAITING)
    await app.start(detached_parent.options(instance_id="parent-wait"), "return", if_exists="replace")

    assert purged == 2
    assert await app.get_instance("parent-return-kept") is None
    assert await app.get_instance("parent-return-alone") is not None
    assert await app.handle("parent-wait-kept").status() is not None
    assert await goes_on(app, "parent-wait-alone") == 7
    assert waits.instance_id == "parent-wait"


async def test_a_start_that_no_body_makes_refuses_it(app: Romancy) -> None:
    detached = detached_child.options(detached=True)
    calls: list[Any] = [
        lambda: app.start(detached, 1),
        lambda: app.run(detached, 1),
        lambda: app.start_many([detached.bind(1)]),
        lambda: app.signal_with_start(detached.options(instance_id="refused").bind(1), "detached_go"),
        lambda: app.request_with_start(detached.options(instance_id="refused").bind(1), Ask),
        lambda: app.schedule("refused", detached.bind(1), every=60),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="start of workflow detached_child: detached= says that a child outlives"):
            await call()
    untyped: Any = detached_child
    with pytest.raises(
        UsageError, match="detached= of the start of workflow detached_child must be True or False, not 'yes'"
    ):
        untyped.options(detached="yes")
    assert (await app.list_instances(workflow_name="detached_child")).instances == []

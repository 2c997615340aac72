"""Sagas: settle, then undo one after another, the latest first, whatever crashes in between."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import (
    CompensationScheduled,
)
from romancy.errors import TerminalError
from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.driver import SECOND, START, World

released: list[str] = []


@compensation
async def release(item: str) -> None:
    released.append(item)


@activity(compensation=release)
async def reserve(item: str) -> str:
    return f"reserved {item}"


@activity(retry=RetryPolicy.none())
async def charge() -> None:
    raise TerminalError("no money")


@workflow
async def order(ctx: WorkflowContext, first: str, second: str) -> None:
    await reserve(first)
    await reserve(second)
    await charge()


def test_compensations_run_in_reverse_order_one_after_another() -> None:
    released.clear()
    world = World(Scenario(order, ("item1", "item2")))
    outcome = world.finish()
    assert released == ["item2", "item1"]
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "no money"
    assert [event.activity_id for event in world.log() if isinstance(event, CompensationScheduled)] == [
        "reserve:2",
        "reserve:1",
    ]
    world.check_every_cut()


@activity(compensation=release)
async def slow_reserve(item: str) -> str:
    return item


@workflow
async def half_done(ctx: WorkflowContext) -> None:
    await asyncio.gather(slow_reserve("late"), reserve("early"), charge())


def test_what_is_in_flight_is_settled_before_anything_is_compensated() -> None:
    released.clear()
    world = World(Scenario(half_done, durations={"charge": 1, "slow_reserve": 60}))
    assert world.finish().status is Status.FAILED
    names = world.kinds()
    assert names.index("ActivityCancelRequested") < names.index("ActivityCancelled")
    assert names.index("ActivityCancelled") < names.index("CompensationScheduled")
    assert released == ["early"]


@workflow
async def sleeper(ctx: WorkflowContext) -> str:
    try:
        await reserve("room")
        await ctx.sleep(3600)
    finally:
        await echo(1)
    return "slept"


def test_cancellation_lets_the_body_clean_up_and_then_compensates() -> None:
    released.clear()
    world = World(Scenario(sleeper, cancel_at=10))
    outcome = world.finish()
    assert (outcome.status, outcome.reason) == (Status.CANCELLED, "asked by the script")
    assert world.scheduled() == ["reserve:1", "echo:1"]
    assert released == ["room"]


@pytest.mark.parametrize(("mode", "undone"), [("completed", ["early"]), ("attempted", ["late", "stuck", "early"])])
def test_what_was_only_attempted_is_undone_if_the_activity_says_so(mode: Any, undone: list[str]) -> None:
    released.clear()

    @activity(compensation=release, compensate=mode, retry=RetryPolicy.none())
    async def outside(item: str) -> None:
        if item == "stuck":
            raise ConnectionError(item)

    @workflow
    async def tries(ctx: WorkflowContext) -> None:
        late = asyncio.create_task(slow_outside("late"))
        await outside("early")
        await asyncio.gather(outside("stuck"), late)

    slow_outside = activity(name="slow_outside", compensation=release, compensate=mode, retry=RetryPolicy.none())(
        outside.fn
    )
    world = World(Scenario(tries, durations={"slow_outside": 60}))
    assert world.finish().status is Status.FAILED
    assert released == undone
    world.check_every_cut()


tries: list[int] = []


@compensation(retry=RetryPolicy.fixed(3, 2.0))
def gives_back(item: str) -> None:
    tries.append(len(tries))
    if len(tries) < 3:
        raise ConnectionError("not now")


@activity(compensation=gives_back)
async def borrow(item: str) -> None:
    """Nothing to see."""


@workflow
async def borrows(ctx: WorkflowContext) -> None:
    await borrow("book")
    raise LookupError("lost")


def test_a_compensation_is_tried_again_by_its_policy_and_a_crash_does_not_reset_the_count() -> None:
    tries.clear()
    world = World(Scenario(borrows))
    world.finish()
    assert world.now - START == 4 * SECOND
    assert [step for step in world.executed if step[1].startswith("compensate")] == [
        ("main", "compensate:borrow:1", attempt) for attempt in (1, 2, 3)
    ]
    tries[:] = [0, 1]
    resumed = world.cut(4)
    resumed.finish()
    assert resumed.commits == world.commits
    assert resumed.executed == [("main", "compensate:borrow:1", 3)]


@workflow
async def makes_the_bed(ctx: WorkflowContext) -> str:
    return await reserve("bed")


@workflow
async def cleans_up_after_itself(ctx: WorkflowContext) -> None:
    await reserve("towel")
    await ctx.sleep(3600)


@workflow
async def fails_after_its_child(ctx: WorkflowContext) -> None:
    await reserve("room")
    await makes_the_bed()
    await ctx.start(cleans_up_after_itself)
    await ctx.sleep(1)
    raise LookupError("the guest has left")


def test_a_child_that_completed_is_done_and_one_that_runs_undoes_its_own() -> None:
    released.clear()
    world = World(Scenario(fails_after_its_child, children=(makes_the_bed, cleans_up_after_itself)))
    assert world.finish().status is Status.FAILED
    assert released == ["towel", "room"]


hired: list[int] = []


@activity
async def hire_one(number: int) -> int:
    hired.append(number)
    return number


hire_quickly = hire_one.options(timeout=5)


@hire_one.compensation
async def dismiss(number: int) -> None:
    hired.remove(number)


@workflow
async def hires_in_vain(ctx: WorkflowContext) -> None:
    await hire_quickly(1)
    raise LookupError("no work")


def test_options_taken_before_the_compensation_was_declared_are_undone_as_well() -> None:
    assert World(Scenario(hires_in_vain)).finish().status is Status.FAILED
    assert hired == []

"""The contexts of workflows and activities."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw

from romancy import (
    Event,
    EventType,
    Status,
    WorkflowContext,
    activity_context,
    current_workflow,
    in_workflow,
    workflow,
)
from romancy.core import (
    LogEvent,
    Message,
    MessageAwaited,
    MessagePutAside,
    MessageReceived,
    Run,
    Topic,
    WorkflowCompleted,
    WorkflowStarted,
)
from romancy.errors import SerializationError, UsageError
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.driver import START, World


def test_time_is_that_of_the_log() -> None:
    @workflow
    async def clock(ctx: WorkflowContext) -> list[str]:
        times = [ctx.now()]
        await ctx.sleep(timedelta(days=1))
        times.append(ctx.now())
        return [time.isoformat() for time in times]

    begin = datetime.fromtimestamp(START / 1e6, UTC)
    assert World(Scenario(clock)).result() == [begin.isoformat(), (begin + timedelta(days=1)).isoformat()]


@workflow
async def drawing(ctx: WorkflowContext) -> list[str]:
    drawn = [str(ctx.uuid4()), str(ctx.random().random()), str(ctx.uuid4()), str(ctx.random().random())]
    await echo(1)
    return drawn


def test_draws_are_the_same_on_replay_and_all_different() -> None:
    world = World(Scenario(drawing))
    drawn = world.result()
    assert world.cut(1).result() == drawn
    assert len(set(drawn)) == 4
    assert World(Scenario(drawing, instance_id="other")).result() != drawn
    assert drawn[0][14] == "4"


def test_draws_of_one_kind_do_not_shift_those_of_another() -> None:
    @workflow(name="drawing")
    async def more_numbers(ctx: WorkflowContext) -> list[str]:
        ctx.random()
        drawn = [str(ctx.uuid4()), str(ctx.uuid4())]
        await echo(1)
        return drawn

    first = World(Scenario(drawing)).result()
    assert World(Scenario(more_numbers)).result() == [first[0], first[2]]


def test_an_event_bears_what_it_came_with() -> None:
    paid = EventType("paid", int)
    came: list[Event[int]] = []

    @workflow
    async def waiting(ctx: WorkflowContext) -> int:
        came.append(await ctx.wait_event(paid))
        return came[-1].data

    assert World(Scenario(waiting, events=((5, "paid", 12),))).result() == 12
    assert came[0].type == "paid"
    assert came[0].time == datetime.fromtimestamp(START / 1e6 + 5, UTC)


def test_an_event_of_another_shape_is_put_aside_and_the_wait_goes_on() -> None:
    @workflow
    async def waiting(ctx: WorkflowContext) -> int:
        return (await ctx.wait_event("paid", model=int)).data

    world = World(Scenario(waiting, events=((5, "paid", "a lot"), (6, "paid", 7))))

    assert world.result() == 7
    (aside,) = [event for event in world.log() if isinstance(event, MessagePutAside)]
    assert (aside.id, aside.topic) == ("paid:1", Topic("paid"))
    assert "expected int" in aside.reason


def test_a_history_in_which_an_event_of_another_shape_was_an_error_replays() -> None:
    @workflow
    async def waiting(ctx: WorkflowContext) -> str:
        try:
            await ctx.wait_event("paid", model=int)
        except SerializationError:
            return "an error"
        return "no error"

    a_lot = Message(Topic("paid"), Raw(b'"a lot"'))
    history: list[list[LogEvent]] = [
        [WorkflowStarted(START, waiting.name, Raw(b"{}"), "n"), MessageAwaited("paid:1", Topic("paid"))],
        [MessageReceived(START + 5, "paid:1", a_lot), WorkflowCompleted(Raw(b'"an error"'))],
    ]
    run = Run(waiting, instance_id="old")
    run.replay(history)

    assert run.status() is Status.COMPLETED
    run.close()


@pytest.mark.parametrize("delay", [float("nan"), float("inf"), "5", True])
def test_a_delay_that_makes_no_sense_is_refused(delay: float) -> None:
    @workflow
    async def sleeping(ctx: WorkflowContext) -> None:
        await ctx.sleep(delay)

    outcome = World(Scenario(sleeping)).finish()
    assert outcome.error is not None
    assert outcome.error.type.endswith("UsageError")
    assert "the delay must be" in outcome.error.message


def test_is_replaying_tells_a_repetition() -> None:
    seen: list[bool] = []

    @workflow
    async def watching(ctx: WorkflowContext) -> None:
        seen.append(ctx.is_replaying)
        await echo(1)
        seen.append(ctx.is_replaying)
        await echo(2)
        seen.append(ctx.is_replaying)

    world = World(Scenario(watching))
    world.finish()
    assert seen == [False, False, False]
    seen.clear()
    world.cut(2).finish()
    assert seen == [True, True, False]


def test_the_context_knows_its_instance() -> None:
    @workflow
    async def knowing(ctx: WorkflowContext) -> str:
        return f"{ctx.instance_id} {ctx.workflow_name} {ctx.run} {ctx.headers}"

    assert World(Scenario(knowing, instance_id="order-42")).result() == "order-42 knowing 1 {}"


def test_activity_context_is_only_there_in_an_activity() -> None:
    with pytest.raises(UsageError, match="while an activity runs"):
        activity_context()


def test_an_event_type_needs_a_name() -> None:
    with pytest.raises(UsageError, match="needs a name"):
        EventType("", int)


def asked_from_below() -> tuple[WorkflowContext, bool]:
    return current_workflow(), in_workflow()


def test_code_below_a_body_finds_its_context() -> None:
    @workflow
    async def nested(ctx: WorkflowContext) -> list[bool]:
        async def later() -> bool:
            await ctx.sleep(1)
            return asked_from_below() == (ctx, True)

        same = [asked_from_below() == (ctx, True), *await asyncio.gather(later(), later())]
        await echo(1)
        return [*same, asked_from_below() == (ctx, True)]

    world = World(Scenario(nested))
    assert [True] * 4 == world.result()
    for place in range(1, 4):
        assert [True] * 4 == world.cut(place).result()


def test_outside_of_a_body_there_is_no_current_workflow() -> None:
    assert not in_workflow()
    with pytest.raises(UsageError, match=r"only available in the body of a workflow.* activity_context\(\)"):
        current_workflow()

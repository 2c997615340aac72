"""An instance without fitting code can still be cancelled, and its effects undone, from its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.context import WorkflowContext
from romancy.core import (
    Activation,
    ActivityCancelled,
    ActivityCompleted,
    CancelActivity,
    CancelRequested,
    CompensationCompleted,
    Run,
    StartCompensation,
    WorkflowParked,
    decode_commit,
    encode_commit,
)
from romancy.errors import NonDeterminismError
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import book, echo, hire, slow
from tests.core.driver import World

if TYPE_CHECKING:
    from romancy.core import ActivityDefinition

ACTIVITIES: dict[str, ActivityDefinition] = {each.name: each for each in (book, hire, slow, echo)}


@workflow(name="travels")
async def travels(ctx: WorkflowContext) -> None:
    await book("room")
    await hire("car", 3)
    await slow(1)
    await ctx.sleep(60)


@workflow(name="travels")
async def changed(ctx: WorkflowContext) -> None:
    await echo(1)


@pytest.fixture
def history() -> list[list[Any]]:
    world = World(Scenario(travels, durations={"slow": 30}))
    world.step()
    world.step()
    assert "slow:1" in world.main.run.state.activities
    return [decode_commit(body) for _, body in world.commits]


def without_code(history: list[list[Any]]) -> Run:
    with pytest.raises(NonDeterminismError):
        Run(changed, instance_id="main").replay(history)
    run = Run(changed, instance_id="main", activities=ACTIVITIES)
    run.replay(history)
    return run


def names(activation: Activation) -> list[str]:
    return [type(event).__name__ for event in activation.events]


def test_cancel_settles_and_compensates_from_the_log_alone(history: list[list[Any]]) -> None:
    run = without_code(history)
    now = run.last_time
    first = run.activate([CancelRequested(at=now, reason="hopeless")])
    assert names(first) == ["CancelRequested", "WorkflowAbandoned", "ActivityCancelRequested"]
    assert first.effects == [CancelActivity("slow:1", idle=False)]
    second = run.activate([ActivityCancelled(at=now, id="slow:1")])
    (undo,) = second.effects
    assert isinstance(undo, StartCompensation)
    assert (undo.name, undo.activity_id) == ("undo_hire", "hire:1")
    assert second.status is Status.COMPENSATING
    third = run.activate([CompensationCompleted(at=now, id=undo.compensation_id)])
    assert [effect.activity_id for effect in third.effects if isinstance(effect, StartCompensation)] == ["book:1"]
    last = run.activate([CompensationCompleted(at=now, id="compensate:book:1")])
    assert last.outcome is not None
    assert (last.outcome.status, last.outcome.reason) == (Status.CANCELLED, "hopeless")


def test_a_crash_in_the_middle_goes_on_with_any_code(history: list[list[Any]]) -> None:
    run = without_code(history)
    now = run.last_time
    for step in (
        CancelRequested(at=now, reason="hopeless"),
        ActivityCancelled(at=now, id="slow:1"),
        CompensationCompleted(at=now, id="compensate:hire:1"),
        CompensationCompleted(at=now, id="compensate:book:1"),
    ):
        activation = run.activate([step])
        history.append(decode_commit(encode_commit(activation.events)))
        run.close()
        for code, activities in ((changed, ACTIVITIES), (travels, None)):
            run = Run(code, instance_id="main", activities=activities)
            run.replay(history)
            assert run.status() is activation.status
            assert len(run.outstanding()) == (0 if activation.outcome else 1)
    assert run.status() is Status.CANCELLED


def test_what_comes_in_meanwhile_is_kept_for_fitting_code(history: list[list[Any]]) -> None:
    run = without_code(history)
    result = ActivityCompleted(at=run.last_time, id="slow:1", result=history[0][0].input)
    activation = run.activate([result])
    assert names(activation) == ["ActivityCompleted", "WorkflowParked"]
    assert activation.events[1] == WorkflowParked("no code of workflow travels fits the log")
    assert activation.status is Status.STUCK
    fitting = Run(travels, instance_id="main")
    fitting.replay([*history, activation.events])
    assert fitting.resumable
    fitting.close()


def test_what_was_being_cancelled_already_is_ended_by_another_cancellation() -> None:
    world = World(Scenario(travels, durations={"slow": 30}, cancel_at=15))
    while "CancelRequested" not in str(world.commits[-1][1]):
        world.step()
    history = [decode_commit(body) for _, body in world.commits]
    run = without_code(history)
    assert run.status() is Status.CANCELLING
    assert run.outstanding() == [CancelActivity("slow:1", idle=False)]

    again = run.activate([CancelRequested(at=run.last_time, reason="again")])

    assert names(again) == ["CancelRequested", "WorkflowAbandoned"]
    history.append(again.events)
    resumed = Run(changed, instance_id="main", activities=ACTIVITIES)
    resumed.replay(history)
    assert resumed.activate([CancelRequested(at=run.last_time)]).events == []
    last = resumed.activate([ActivityCancelled(at=run.last_time, id="slow:1")])
    assert [type(effect) for effect in last.effects] == [StartCompensation]


def test_without_code_no_activity_is_begun(history: list[list[Any]]) -> None:
    assert without_code(history).outstanding() == []

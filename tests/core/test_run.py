"""A run from start to end: its events, its effects, and what happens after a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelRequested,
    ActivityCompleted,
    CancelRequested,
    OwnerChanged,
    Run,
    State,
    TimerCancelled,
    TimerFired,
    WorkflowFailed,
    WorkflowParked,
    WorkflowResumed,
    decode_commit,
)
from romancy.errors import (
    HistoryCorruptError,
    NonDeterminismError,
    RetryExhaustedError,
    WorkflowCancelledError,
)
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import SECOND, START, World, started


@activity
async def double(x: int) -> int:
    return 2 * x


@workflow
async def sequence(ctx: WorkflowContext, n: int) -> int:
    for _ in range(3):
        n = await double(n)
    return n


def test_one_commit_per_step() -> None:
    world = World(Scenario(sequence, (1,)))
    assert world.result() == 8
    assert [len(decode_commit(body)) for _, body in world.commits] == [2, 2, 2, 2]
    assert world.scheduled() == ["double:1", "double:2", "double:3"]


@activity
def flaky(x: int) -> int:
    raise ValueError(f"not {x}")


@workflow
async def failing(ctx: WorkflowContext) -> str:
    try:
        await flaky(1)
    except RetryExhaustedError as error:
        return f"{error.attempts} {type(error.__cause__).__name__} {len(error.history)}"
    return "no error"


def test_the_default_schedule_is_1_2_4_8_seconds() -> None:
    world = World(Scenario(failing))
    assert world.result() == "5 ValueError 5"
    attempts = [event for event in world.log() if isinstance(event, ActivityAttemptFailed)]
    assert [(event.attempt, event.at - START, event.next_at - event.at) for event in attempts] == [
        (1, 0, 1 * SECOND),
        (2, 1 * SECOND, 2 * SECOND),
        (3, 3 * SECOND, 4 * SECOND),
        (4, 7 * SECOND, 8 * SECOND),
    ]
    assert world.now - START == 15 * SECOND


@workflow
async def chosen(ctx: WorkflowContext) -> list[int]:
    a = await double.options(id="double:2")(1)
    b = await double(2)
    c = await double(3)
    return [a, b, c]


def test_automatic_ids_skip_the_ones_chosen_by_the_user() -> None:
    world = World(Scenario(chosen))
    assert world.result() == [2, 4, 6]
    assert world.scheduled() == ["double:2", "double:1", "double:3"]


@workflow
async def twice(ctx: WorkflowContext) -> None:
    await double.options(id="mine")(1)
    await double.options(id="mine")(1)


def test_an_id_used_twice_is_refused() -> None:
    outcome = World(Scenario(twice)).finish()
    assert outcome.error is not None
    assert "mine" in outcome.error.message
    assert "UsageError" in outcome.error.type


def test_inputs_that_nobody_waits_for_are_dropped_and_not_written() -> None:
    run = Run(sequence, instance_id="x")
    activation = run.activate([started(sequence, 1), TimerFired(at=START, id="timer:9")])
    assert activation.dropped == (TimerFired(at=START, id="timer:9"),)
    assert len(activation.events) == 2


def test_changed_code_is_found_and_told() -> None:
    world = World(Scenario(sequence, (1,)))
    world.finish()

    @workflow(name="sequence")
    async def changed(ctx: WorkflowContext, n: int) -> int:
        await ctx.sleep(1)
        return await double(n)

    run = Run(changed, instance_id="main", code="new")
    with pytest.raises(NonDeterminismError) as caught:
        run.replay(decode_commit(body) for _, body in world.commits)
    assert "the log says:      activity double as double:1" in str(caught.value)
    assert "the code now does: timer timer:1 until 1 s after the start" in str(caught.value)


def test_a_parked_run_keeps_its_input_and_goes_on_with_fitting_code() -> None:
    stuck = asyncio.Event

    @workflow(name="parks")
    async def broken(ctx: WorkflowContext) -> int:
        n = await double(2)
        await stuck().wait()
        return n

    @workflow(name="parks")
    async def mended(ctx: WorkflowContext) -> int:
        return await double(await double(2))

    world = World(Scenario(broken))
    assert world.step()
    assert world.main.parked is not None
    assert "awaits something that no event can bring" in world.main.parked
    assert isinstance(world.log()[-1], WorkflowParked)
    assert world.main.run.status() is Status.STUCK
    resumed = World(Scenario(mended), world.commits)
    assert resumed.main.run.resumable
    resumed.feed("main", WorkflowResumed(at=resumed.now))
    assert resumed.result() == 8
    assert [activity for _, activity, _ in resumed.executed] == ["double:2"]
    again = World(Scenario(mended), resumed.commits)
    assert again.result() == 8


def test_an_activity_given_up_at_once_never_starts() -> None:
    @workflow
    async def hasty(ctx: WorkflowContext) -> str:
        task = asyncio.create_task(double(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await ctx.sleep(1)
        return "done"

    world = World(Scenario(hasty))
    assert world.result() == "done"
    assert world.executed == []
    assert ActivityCancelRequested(id="double:1", never_started=True) in world.log()
    world.check_every_cut()


def test_the_failure_of_the_body_is_recorded_with_its_type() -> None:
    @workflow
    async def raises(ctx: WorkflowContext) -> None:
        raise LookupError("nothing here")

    world = World(Scenario(raises))
    outcome = world.finish()
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("LookupError", "nothing here")
    assert isinstance(world.log()[-1], WorkflowFailed)


@workflow
async def long(ctx: WorkflowContext, count: int) -> int:
    total = 0
    for n in range(count):
        total += await double(n)
    return total


def test_a_long_history_replays_in_pages() -> None:
    world = World(Scenario(long, (700,)))
    assert world.result() == 699 * 700
    resumed = world.cut(650)
    assert resumed.result() == 699 * 700
    assert len(resumed.executed) == 51


def test_a_takeover_changes_nothing_in_the_run() -> None:
    world = World(Scenario(sequence, (1,)))
    world.step()
    taken = OwnerChanged(at=world.now + 5 * SECOND, owner="another")
    activation = world.main.run.activate([taken])
    assert (activation.events, activation.effects, activation.status) == ([taken], [], Status.RUNNING)
    run = Run(sequence, instance_id="main")
    run.replay([*(decode_commit(body) for _, body in world.commits), activation.events])
    assert run.last_time == taken.at
    assert len(run.outstanding()) == 1
    run.close()


def test_a_start_written_without_a_worker_is_acted_upon_when_it_is_resumed() -> None:
    run = Run(sequence, instance_id="x")
    run.replay([[started(sequence, 1)]])
    assert (run.resumable, run.outstanding()) == (True, [])
    activation = run.activate([WorkflowResumed(at=START)])
    kinds = [type(event).__name__ for event in activation.events]
    assert kinds == ["WorkflowResumed", "WorkflowCaughtUp", "ActivityScheduled"]
    again = Run(sequence, instance_id="x")
    again.replay([[started(sequence, 1)], activation.events])
    assert again.outstanding() == run.outstanding()
    for each in (run, again):
        each.close()


def test_once_parked_everything_that_comes_is_kept() -> None:
    @workflow
    async def leaves(ctx: WorkflowContext) -> None:
        await asyncio.gather(double(1), double(2))
        await asyncio.to_thread(print)

    run = Run(leaves, instance_id="x")
    run.activate([started(leaves)])
    results = [ActivityCompleted(at=START, id=f"double:{n}", result=Raw(b"1")) for n in (1, 2)]
    activation = run.activate([*results, CancelRequested(at=START)])
    assert [type(event).__name__ for event in activation.events] == [
        "ActivityCompleted",
        "ActivityCompleted",
        "WorkflowParked",
        "CancelRequested",
        "WorkflowParked",
    ]
    run.close()


@pytest.mark.parametrize(
    ("commit", "problem"),
    [
        ([TimerFired(at=START, id="timer:1")], "answers nothing"),
        ([TimerCancelled("timer:1")], "begins with cancel of timer timer:1, which is not an input"),
    ],
)
def test_a_log_that_cannot_be_is_corrupt(commit: list[Any], problem: str) -> None:
    run = Run(sequence, instance_id="x")
    first = run.activate([started(sequence, 1)])
    again = Run(sequence, instance_id="x")
    with pytest.raises(HistoryCorruptError, match=problem):
        again.replay([first.events, commit])
    for each in (run, again):
        each.close()


def test_the_fold_alone_notices_what_cannot_be() -> None:
    state = State()
    assert state.status() is Status.PENDING
    state.apply(started(sequence, 1))
    with pytest.raises(HistoryCorruptError, match="TimerCancelled for 'timer:1', which is not in flight"):
        state.apply(TimerCancelled("timer:1"))


def test_an_ended_run_waits_for_nothing() -> None:
    @workflow
    async def leaves_early(ctx: WorkflowContext) -> str:
        tasks = [asyncio.create_task(ctx.sleep(60)), asyncio.create_task(double(1))]
        await ctx.sleep(1)
        for task in tasks:
            task.cancel()
        return f"{len(tasks)} left"

    world = World(Scenario(leaves_early, durations={"double": 30}))
    assert world.result() == "2 left"
    run = Run(leaves_early, instance_id="main")
    run.replay(decode_commit(body) for _, body in world.commits)
    assert (run.outstanding(), run.state.wake_at()) == ([], None)


@workflow
async def undecided(ctx: WorkflowContext, heeds: str) -> str:
    try:
        await ctx.sleep(100)
    except asyncio.CancelledError:
        if heeds == "heeds":
            raise
    return "done all the same"


@workflow
async def stops_and_asks(ctx: WorkflowContext, heeds: str) -> str:
    handle = await ctx.start(undecided, heeds)
    await ctx.sleep(1)
    handle.cancel()
    handle.cancel()
    try:
        return await handle.result()
    except WorkflowCancelledError:
        return "cancelled"


@pytest.mark.parametrize(("heeds", "told"), [("heeds", "cancelled"), ("not", "done all the same")])
def test_a_workflow_that_cancels_a_child_learns_how_it_ended(heeds: str, told: str) -> None:
    """The workflow is itself cancelled while it asks."""
    world = World(Scenario(stops_and_asks, args=(heeds,), children=(undecided,)))
    assert world.result() == told
    assert world.kinds().count("ChildCancelRequested") == 1
    world.check_every_cut()

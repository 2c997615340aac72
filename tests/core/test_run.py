"""A run from start to end: what is written, what is asked of the world, and what happens after a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelRequested,
    CompensationScheduled,
    Run,
    TimerFired,
    WorkflowFailed,
    WorkflowParked,
    WorkflowResumed,
    WorkflowStarted,
    decode_commit,
)
from romancy.errors import NonDeterminismError, RetryExhaustedError, TerminalError, UsageError
from romancy.retry import RetryPolicy
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import SECOND, START, World


def kinds(world: World) -> list[str]:
    return [type(event).__name__ for event in world.log()]


def ids(world: World) -> list[str]:
    return [event.id for event in world.log() if type(event).__name__ == "ActivityScheduled"]  # type: ignore[attr-defined]


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
    assert ids(world) == ["double:1", "double:2", "double:3"]


def test_every_cut_of_the_log_goes_on_to_the_same_end_and_repeats_nothing() -> None:
    world = World(Scenario(sequence, (1,)))
    world.finish()
    for commits in range(1, len(world.commits) + 1):
        resumed = world.cut(commits)
        assert resumed.result() == 8
        assert resumed.commits == world.commits
        assert len(resumed.executed) == 4 - commits


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


def test_a_crash_does_not_reset_the_count_of_attempts() -> None:
    world = World(Scenario(failing))
    world.finish()
    for commits in range(1, len(world.commits)):
        resumed = world.cut(commits)
        resumed.finish()
        assert resumed.commits == world.commits
        assert [attempt for _, _, attempt in resumed.executed] == list(range(commits, 6))


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
    for commits in range(1, len(world.commits)):
        resumed = world.cut(commits)
        resumed.finish()
        assert resumed.commits == world.commits


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
    names = kinds(world)
    assert names.index("ActivityCancelRequested") < names.index("ActivityCancelled")
    assert names.index("ActivityCancelled") < names.index("CompensationScheduled")
    assert released == ["early"]


@workflow
async def sleeper(ctx: WorkflowContext) -> str:
    try:
        await reserve("room")
        await ctx.sleep(3600)
    finally:
        await double(1)
    return "slept"


def test_cancellation_lets_the_body_clean_up_and_then_compensates() -> None:
    released.clear()
    world = World(Scenario(sleeper, cancel_at=10))
    outcome = world.finish()
    assert (outcome.status, outcome.reason) == (Status.CANCELLED, "asked by the script")
    assert ids(world) == ["reserve:1", "double:1"]
    assert released == ["room"]


@workflow
async def chosen(ctx: WorkflowContext) -> list[int]:
    a = await double.options(id="double:2")(1)
    b = await double(2)
    c = await double(3)
    return [a, b, c]


def test_automatic_ids_skip_the_ones_chosen_by_the_user() -> None:
    world = World(Scenario(chosen))
    assert world.result() == [2, 4, 6]
    assert ids(world) == ["double:2", "double:1", "double:3"]


@workflow
async def twice(ctx: WorkflowContext) -> None:
    await double.options(id="mine")(1)
    await double.options(id="mine")(1)


def test_an_id_used_twice_is_refused() -> None:
    outcome = World(Scenario(twice)).finish()
    assert outcome.error is not None
    assert "mine" in outcome.error.message
    assert "UsageError" in outcome.error.type


def started(wf: Any, *args: Any) -> WorkflowStarted:
    return WorkflowStarted(at=START, workflow=wf.name, input=wf.bind(*args).encode(), nonce="n")


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
    for commits in range(1, len(world.commits)):
        assert world.cut(commits).result() == "done"


def test_the_failure_of_the_body_is_recorded_with_its_type() -> None:
    @workflow
    async def raises(ctx: WorkflowContext) -> None:
        raise LookupError("nothing here")

    world = World(Scenario(raises))
    outcome = world.finish()
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("LookupError", "nothing here")
    assert isinstance(world.log()[-1], WorkflowFailed)


def test_a_workflow_cannot_be_called_outside() -> None:
    async def call() -> None:
        await sequence(1)

    with pytest.raises(UsageError, match=r"app\.start"):
        asyncio.run(call())


def test_an_activity_outside_of_a_workflow_is_the_function() -> None:
    async def call() -> int:
        return await double(4)

    assert asyncio.run(call()) == 8


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
    for commits in range(1, len(world.commits)):
        resumed = world.cut(commits)
        resumed.finish()
        assert resumed.commits == world.commits

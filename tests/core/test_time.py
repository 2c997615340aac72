"""Time in a run: exact, durable and monotone, and never read from a clock."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import anyio
import msgspec
import pytest
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import (
    ActivityCompleted,
    CancelRequested,
    Input,
    LogEvent,
    Message,
    MessageAwaited,
    MessageReceived,
    OwnerChanged,
    Run,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    Topic,
    WorkflowParked,
    WorkflowResumed,
)
from romancy.errors import UsageError
from romancy.status import Status
from romancy.workflow import Workflow, workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.driver import SECOND, START, World, started

TICK = Message(Topic("tick"), Raw(b"null"))


def begin(wf: Workflow[[], object]) -> tuple[Run, list[LogEvent], Status, int | None]:
    run = Run(wf, instance_id="x")
    activation = run.activate([started(wf)])
    return run, list(activation.events[1:]), activation.status, activation.wake_at


@pytest.mark.parametrize(
    "sleep",
    [anyio.sleep_forever, lambda: asyncio.sleep(math.inf), lambda: asyncio.sleep(1e18)],
    ids=["anyio.sleep_forever", "inf", "1e18"],
)
def test_a_delay_without_an_end_is_no_row_and_no_wake_up(sleep: object) -> None:
    @workflow
    async def for_ever(ctx: WorkflowContext) -> None:
        await sleep()  # type: ignore[operator]

    run, commands, status, wake_at = begin(for_ever)
    assert (commands, status, wake_at) == ([], Status.WAITING, None)
    run.close()


def test_a_delay_that_is_no_number_is_an_error_of_the_workflow() -> None:
    @workflow
    async def unsure(ctx: WorkflowContext) -> str:
        try:
            await asyncio.sleep(math.nan)
        except ValueError as error:
            return str(error)
        return "slept"

    assert "NaN" in World(Scenario(unsure)).result()


def test_no_delay_is_no_timer() -> None:
    @workflow
    async def quick(ctx: WorkflowContext) -> int:
        await ctx.sleep(0)
        await asyncio.sleep(-1)
        await ctx.sleep(timedelta())
        await ctx.sleep(-5)
        await ctx.sleep(timedelta(days=-1))
        await ctx.sleep_until(ctx.now())
        await ctx.sleep_until(ctx.now() - timedelta(days=1))
        await ctx.sleep_until(datetime.min.replace(tzinfo=UTC))
        return 1

    world = World(Scenario(quick))
    assert world.result() == 1
    assert len(world.log()) == 2


def test_armed_and_disarmed_in_one_breath_is_no_timer() -> None:
    @workflow
    async def hasty(ctx: WorkflowContext) -> int:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        return await echo(1)

    world = World(Scenario(hasty))
    world.finish()
    assert not any(isinstance(event, (TimerStarted, TimerCancelled)) for event in world.log())


def test_a_timer_no_longer_wanted_is_cancelled_in_the_log() -> None:
    @workflow
    async def in_time(ctx: WorkflowContext) -> int:
        async with asyncio.timeout(10):
            await echo(1)
        return await echo(2)

    world = World(Scenario(in_time))
    world.finish()
    assert world.kinds() == [
        "WorkflowStarted",
        "ActivityScheduled",
        "TimerStarted",
        "ActivityCompleted",
        "ActivityScheduled",
        "TimerCancelled",
        "ActivityCompleted",
        "WorkflowCompleted",
    ]


@pytest.mark.parametrize("delay", [0.1, 1 / 3, 1e-6, 1e-7, 123_456.789_012_3, 86_400 * 365.25 * 90])
def test_after_a_delay_the_loop_has_reached_its_end_exactly(delay: float) -> None:
    @workflow
    async def until(ctx: WorkflowContext, delay: float) -> int:
        loop, rounds = asyncio.get_running_loop(), 0
        end = loop.time() + delay
        while loop.time() < end:
            await asyncio.sleep(end - loop.time())
            rounds += 1
        return rounds

    world = World(Scenario(until, (delay,)))
    assert world.result() == 1
    assert world.cut(1).result() == 1


EAST = timezone(timedelta(hours=5, minutes=45))


@pytest.mark.parametrize("zone", [UTC, EAST], ids=["utc", "east"])
def test_a_sleep_until_a_moment_ends_at_that_moment(zone: timezone) -> None:
    """Whatever happened before, it is due at the moment itself, and the same on replay."""
    moment = datetime.fromtimestamp(START // SECOND, zone) + timedelta(days=40, microseconds=123_457)

    @workflow
    async def until(ctx: WorkflowContext) -> bool:
        await ctx.sleep(0.3)
        await ctx.wait_event("tick")
        await ctx.sleep_until(moment)
        return ctx.now() >= moment

    run, _, _, _ = begin(until)
    events = [
        TimerFired(at=START + SECOND, id="timer:1"),
        MessageReceived(at=START + 7_654_321, id="tick:1", message=TICK),
    ]
    activations = [run.activate([event]) for event in events]
    assert activations[-1].wake_at == START + 40 * 86_400 * SECOND + 123_457
    again = Run(until, instance_id="x")
    again.replay([[started(until), *begin(until)[1]], *(activation.events for activation in activations)])
    last = again.activate([TimerFired(at=START + 40 * 86_400 * SECOND + 123_457, id="timer:2")])
    assert last.outcome is not None
    assert bytes(last.outcome.result or b"") == b"true"


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2100, 1, 1), "the moment of sleep_until: it has no time zone"),  # noqa: DTZ001 - that is the mistake
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "outside of the years 1 to 9999"),
        (timedelta(seconds=5), "must be a datetime with a time zone, not timedelta"),
        (5.0, "must be a datetime with a time zone, not float"),
    ],
)
def test_a_moment_that_is_none_is_refused_by_name(moment: Any, words: str) -> None:
    @workflow
    async def until(ctx: WorkflowContext) -> str:
        try:
            await ctx.sleep_until(moment)
        except UsageError as error:
            return str(error)
        return "slept"

    assert words in str(World(Scenario(until)).result())


@pytest.mark.parametrize("early", [0, 1, 500_000])
def test_a_timer_that_fires_early_still_shows_its_time(early: int) -> None:
    seen: list[float] = []

    @workflow
    async def sleeps(ctx: WorkflowContext) -> None:
        await ctx.sleep(10)
        seen.append(asyncio.get_running_loop().time())
        await ctx.sleep(10)
        seen.append(asyncio.get_running_loop().time())

    run, _, _, wake_at = begin(sleeps)
    assert wake_at == START + 10 * SECOND
    again = run.activate([TimerFired(at=START + 10 * SECOND - early, id="timer:1")])
    assert again.wake_at == START + 20 * SECOND
    run.activate([TimerFired(at=START + 20 * SECOND, id="timer:2")])
    assert seen == [10.0, 20.0]


def test_a_timer_that_fires_late_moves_the_clock_on() -> None:
    @workflow
    async def sleeps(ctx: WorkflowContext) -> None:
        await ctx.sleep(10)
        await ctx.sleep(10)

    run, _, _, _ = begin(sleeps)
    late = run.activate([OwnerChanged(at=START + 60 * SECOND), TimerFired(at=START + 60 * SECOND, id="timer:1")])
    assert late.wake_at == START + 70 * SECOND


def test_a_clock_that_runs_backwards_is_not_believed() -> None:
    @workflow
    async def waits(ctx: WorkflowContext) -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for _ in range(2):
            await ctx.wait_event("tick")
            times.append(loop.time())
        return times

    run, _, _, _ = begin(waits)
    run.activate([MessageReceived(at=START + 9 * SECOND, id="tick:1", message=TICK)])
    last = run.activate([MessageReceived(at=START + 3 * SECOND, id="tick:2", message=TICK)])
    assert last.outcome is not None
    assert last.outcome.result is not None
    assert msgspec.json.decode(last.outcome.result) == [0, 9, 9]
    assert run.last_time == START + 9 * SECOND


def test_several_timers_due_together_fire_in_one_commit_in_their_order() -> None:
    woken: list[int] = []

    @workflow
    async def naps(ctx: WorkflowContext) -> None:
        async def nap(n: int) -> None:
            await ctx.sleep(n)
            woken.append(n)

        await asyncio.gather(nap(3), nap(1), nap(2))

    run, commands, _, _ = begin(naps)
    assert [command.when for command in commands if isinstance(command, TimerStarted)] == [3.0, 1.0, 2.0]
    now = START + 5 * SECOND
    activation = run.activate([TimerFired(at=now, id=f"timer:{n}") for n in (2, 3, 1)])
    assert activation.outcome is not None
    assert woken == [1, 2, 3]


def test_a_wait_beyond_all_time_is_one_that_every_database_can_hold() -> None:
    """`timedelta.max` is a common "no limit"; in microseconds it has more than 64 bits."""

    @workflow
    async def patient(ctx: WorkflowContext) -> None:
        await ctx.wait_event("go", timeout=timedelta.max)

    run, (wait,), status, wake_at = begin(patient)
    assert isinstance(wait, MessageAwaited)
    assert (wait.due, status, wake_at) == (None, Status.WAITING, None)
    run.close()


@workflow
async def looks_at_clocks(ctx: WorkflowContext) -> list[float]:
    loop, began = asyncio.get_running_loop(), ctx.now()
    times = [loop.time()]
    try:
        async with asyncio.timeout(10):
            await ctx.wait_event("never", timeout=20)
    except TimeoutError:
        times += [loop.time(), (ctx.now() - began).total_seconds()]
    await ctx.sleep(5)
    return [*times, loop.time(), (ctx.now() - began).total_seconds()]


@pytest.mark.parametrize("written_at", [0, START])
def test_a_start_that_lay_undriven_begins_when_it_is_driven(written_at: int) -> None:
    driven_at = START + 3600 * SECOND
    commits: list[list[LogEvent]] = [[started(looks_at_clocks, at=written_at)], [OwnerChanged(at=driven_at - 1)]]
    inputs: list[Input] = [
        WorkflowResumed(at=driven_at),
        TimerFired(at=driven_at + 10 * SECOND, id="timer:1"),
        TimerFired(at=driven_at + 15 * SECOND, id="timer:2"),
    ]
    wake_ups: list[int | None] = []
    for input in inputs:  # a crash before each
        run = Run(looks_at_clocks, instance_id="x")
        run.replay(commits)
        activation = run.activate([input])
        commits.append(activation.events)
        wake_ups.append(activation.wake_at)
        run.close()
    assert wake_ups == [driven_at + 10 * SECOND, driven_at + 15 * SECOND, None]
    again = Run(looks_at_clocks, instance_id="x")
    again.replay(commits)
    outcome = again.outcome()
    assert outcome is not None
    assert outcome.result is not None
    assert msgspec.json.decode(outcome.result) == [0, 10, 10, 15, 15]


def test_a_cancellation_that_drives_a_start_bears_its_time() -> None:
    @workflow
    async def cleans_up(ctx: WorkflowContext) -> None:
        try:
            await ctx.wait_event("never")
        finally:
            await ctx.sleep(10)

    run = Run(cleans_up, instance_id="x")
    run.replay([[started(cleans_up, at=0)]])
    activation = run.activate([CancelRequested(at=START)])
    assert activation.wake_at == START + 10 * SECOND
    run.close()


def test_an_input_that_could_not_be_acted_upon_is_acted_upon_at_the_time_of_the_resumption() -> None:
    @workflow(name="parks")
    async def broken(ctx: WorkflowContext) -> None:
        await echo(1)
        await asyncio.Event().wait()

    @workflow(name="parks")
    async def mended(ctx: WorkflowContext) -> None:
        await echo(1)
        await ctx.sleep(10)

    run, scheduled, _, _ = begin(broken)
    completed = run.activate([ActivityCompleted(at=START + SECOND, id="echo:1", result=Raw(b"1"))])
    assert isinstance(completed.events[-1], WorkflowParked)
    run.close()
    resumed = Run(mended, instance_id="x")
    commits = [[started(broken), *scheduled], completed.events]
    resumed.replay(commits)
    activation = resumed.activate([WorkflowResumed(at=START + 3600 * SECOND)])
    assert activation.wake_at == START + 3610 * SECOND
    again = Run(mended, instance_id="x")
    again.replay([*commits, activation.events])
    assert again.state.wake_at() == START + 3610 * SECOND
    for each in (resumed, again):
        each.close()


def test_a_history_without_the_mark_goes_on_by_the_times_of_its_inputs() -> None:
    """Versions that did not know the mark wrote it: the times they set and computed stay the same."""
    driven: list[LogEvent] = [
        WorkflowResumed(at=START + 3 * SECOND),
        MessageAwaited(id="never:1", topic=Topic("never"), due=START + 20 * SECOND),
        TimerStarted(id="timer:1", when=10.0, due=START + 10 * SECOND),
    ]
    run = Run(looks_at_clocks, instance_id="x")
    run.replay([[started(looks_at_clocks)], driven])
    run.activate([TimerFired(at=START + 10 * SECOND, id="timer:1")])
    activation = run.activate([TimerFired(at=START + 15 * SECOND, id="timer:2")])
    assert activation.outcome is not None
    assert activation.outcome.result is not None
    assert msgspec.json.decode(activation.outcome.result) == [0, 10, 7, 15, 12]

"""Inputs that the log holds by themselves, because it refused what the run had decided from them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw

from romancy import WorkflowContext, activity, compensation, workflow
from romancy.core import (
    ActivityCancelled,
    ActivityCompleted,
    CancelRequested,
    CompensationCompleted,
    InputDeferred,
    LogEvent,
    Run,
    TimerFired,
    WorkflowAbandoned,
    WorkflowCancelled,
    WorkflowResumed,
)
from romancy.errors import HistoryCorruptError
from romancy.registry import Registry
from tests.core.driver import SECOND, START, started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy import Workflow


@compensation
async def unbook(number: int) -> None: ...


@activity(compensation=unbook)
async def book(number: int) -> int:
    return number


@workflow
async def books(ctx: WorkflowContext) -> int:
    return await book(1) + await book(2)


@workflow
async def books_in_time(ctx: WorkflowContext) -> int:
    async with asyncio.timeout(10):
        return await book(1)


def names(events: Sequence[LogEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def booked(number: int, at: int = START) -> ActivityCompleted:
    return ActivityCompleted(at=at, id=f"book:{number}", result=Raw(str(number).encode()))


def behind(wf: Workflow[[], int], *inputs: ActivityCompleted) -> tuple[Run, list[list[LogEvent]]]:
    """A run in whose log these stand, the last one deferred: what was decided from it was refused."""
    first = Run(wf, instance_id="x")
    commits = [first.activate([started(wf)]).events]
    commits += [first.activate([one]).events for one in inputs[:-1]]
    assert inputs
    assert first.activate([inputs[-1]]).outcome is not None
    first.close()
    commits.append([inputs[-1], InputDeferred()])
    run = Run(wf, instance_id="x")
    run.replay(commits)
    return run, commits


def replayed(wf: Workflow[[], int], commits: list[list[LogEvent]]) -> Run:
    run = Run(wf, instance_id="x")
    run.replay(commits)
    run.close()
    return run


def test_a_deferred_input_is_acted_on_with_the_next_one() -> None:
    run, commits = behind(books, booked(1), booked(2))
    assert (run.resumable, run.acts_late, run.outstanding()) == (True, True, [])

    activation = run.activate([WorkflowResumed(at=START + SECOND)])

    assert names(activation.events) == ["WorkflowResumed", "WorkflowCaughtUp", "WorkflowCompleted"]
    assert activation.outcome is not None
    assert bytes(activation.outcome.result or b"") == b"3"
    again = replayed(books, [*commits, activation.events])
    assert (again.outcome(), run.resumable, run.acts_late) == (activation.outcome, False, False)
    run.close()


def test_a_request_to_cancel_comes_before_what_is_deferred() -> None:
    """Nobody was told of the end that the log refused, and somebody was told that the run would stop."""
    run, commits = behind(books, booked(1), booked(2))

    activation = run.activate([CancelRequested(at=START + SECOND)])

    assert names(activation.events) == ["CancelRequested", "WorkflowCaughtUp", "CompensationScheduled"]
    undone = [run.activate([CompensationCompleted(at=START, id=f"compensate:book:{n}")]).events for n in (2, 1)]
    assert isinstance(undone[-1][-1], WorkflowCancelled)
    assert replayed(books, [*commits, activation.events, *undone]).outcome() == run.outcome()
    run.close()


def test_a_limit_does_not_overtake_what_is_deferred() -> None:
    """The body had ended in time."""
    first = Run(books, instance_id="x")
    commits = [first.activate([started(books, limit=10 * SECOND)]).events, first.activate([booked(1)]).events]
    first.close()
    run = Run(books, instance_id="x")
    run.replay([*commits, [booked(2), InputDeferred()]])

    activation = run.activate([CancelRequested(at=START + 10 * SECOND, limit=10 * SECOND)])

    assert names(activation.events) == ["CancelRequested", "WorkflowCaughtUp", "WorkflowCompleted"]
    run.close()


def test_a_timer_that_a_deferred_input_disarms_may_come_with_it() -> None:
    run, commits = behind(books_in_time, booked(1))

    activation = run.activate([TimerFired(at=START + 10 * SECOND, id="timer:1")])

    assert names(activation.events) == ["TimerFired", "WorkflowCaughtUp", "WorkflowCompleted"]
    assert replayed(books_in_time, [*commits, activation.events]).outcome() == activation.outcome
    run.close()


def test_an_end_without_the_code_is_decided_again() -> None:
    first = Run(books, instance_id="x")
    commits = [first.activate([started(books)]).events, first.activate([booked(1)]).events]
    first.close()
    activities = Registry.collect([books]).activities_of("books")

    def follows(more: list[list[LogEvent]]) -> Run:
        run = Run(books, instance_id="x", activities=activities)
        run.replay([*commits, *more])
        return run

    run = follows([])
    cancelled = run.activate([CancelRequested(at=START)]).events
    assert any(isinstance(event, WorkflowAbandoned) for event in cancelled)
    ends = [cancelled]
    ends.append(run.activate([ActivityCancelled(at=START, id="book:2", unknown=True)]).events)
    run.close()
    undone = CompensationCompleted(at=START, id="compensate:book:1")
    again = follows([*ends, [undone, InputDeferred()]])
    before = again.resumable

    activation = again.activate([WorkflowResumed(at=START)])

    assert names(activation.events) == ["WorkflowResumed", "WorkflowCancelled"]
    assert (before, again.resumable) == (True, False)
    again.close()


def test_a_deferred_input_has_to_answer_something() -> None:
    run = Run(books, instance_id="x")
    first = Run(books, instance_id="x")
    commits = [first.activate([started(books)]).events]
    first.close()

    with pytest.raises(HistoryCorruptError, match="answers nothing"):
        run.replay([*commits, [booked(7), InputDeferred()]])
    run.close()

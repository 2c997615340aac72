"""A run that is undone up to a point, before its instance is rewound: from the log alone, as a failing run would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCompleted,
    ActivityScheduled,
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    InputDeferred,
    LogEvent,
    MessageAwaited,
    OwnerChanged,
    Recall,
    Run,
    StartCompensation,
    Topic,
    UndoingBegan,
    UndoRegistered,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowResumed,
    WorkflowStarted,
    decode_commit,
    encode_commit,
)
from romancy.serialization import ErrorInfo
from romancy.status import Status
from romancy.workflow import workflow

if TYPE_CHECKING:
    from collections.abc import Sequence

ARGS, RESULT = Raw(b"[]"), Raw(b'"done"')


@compensation
async def give_up(item: str) -> None: ...


@activity(compensation=give_up)
async def hold(item: str) -> str:
    return item


@compensation
async def undo_try(item: str) -> None: ...


@activity(compensation=undo_try, compensate="attempted")
async def attempt(item: str) -> str:
    return item


@activity
async def close(item: str) -> None: ...


@workflow
async def nothing(ctx: WorkflowContext) -> None: ...


KNOWN: dict[str, Any] = {one.name: one for one in (hold, attempt, close)}
START = WorkflowStarted(0, "nothing", Raw(b"{}"), "nonce")
END = WorkflowCompleted(Raw(b"null"))


def done(number: int, name: str = "hold") -> list[LogEvent]:
    id = f"{name}:{number}"
    return [ActivityScheduled(id, name, ARGS), ActivityCompleted(number, id, RESULT)]


def run_of(commits: Sequence[Sequence[LogEvent]], *, code: bool = False) -> Run:
    run = Run(nothing, instance_id="one", activities=None if code else KNOWN, known=KNOWN)
    run.replay([decode_commit(encode_commit([*commit])) for commit in commits])
    return run


THREE: list[LogEvent] = [START, *done(1), *done(2), *done(3), END]


def test_it_undoes_what_is_named_the_last_one_first() -> None:
    run = run_of([THREE, [UndoingBegan(9, 1, undo=("hold:3", "hold:2"))]])
    assert run.status() is Status.COMPENSATING
    assert run.outcome() is None
    assert run.outstanding() == []

    undone: list[str] = []
    activation = run.activate([WorkflowResumed(10)])
    while activation.effects:
        (effect,) = activation.effects
        assert isinstance(effect, StartCompensation)
        undone.append(effect.activity_id)
        assert not run.state.is_undone
        activation = run.activate([CompensationCompleted(11, effect.compensation_id)])

    assert undone == ["hold:3", "hold:2"]
    assert run.state.is_undone
    assert activation.status is Status.COMPENSATING
    assert [one.scheduled.id for one in run.state.to_compensate] == ["hold:1"]


def test_a_replay_finds_what_is_under_way() -> None:
    under_way = CompensationScheduled("compensate:hold:3", "hold:3", "hold", "give_up", ARGS)
    began: list[list[LogEvent]] = [[UndoingBegan(9, 1, undo=("hold:3", "hold:2"))], [WorkflowResumed(10), under_way]]

    (effect,) = run_of([THREE, *began]).outstanding()
    assert isinstance(effect, StartCompensation)
    assert (effect.activity_id, effect.attempt) == ("hold:3", 1)

    (again,) = run_of([THREE, *began, [OwnerChanged(11, owner="other")]]).outstanding()
    assert isinstance(again, StartCompensation)
    assert again.attempt == 2


def test_an_end_that_was_only_recorded_is_followed_by_the_next() -> None:
    under_way = CompensationScheduled("compensate:hold:3", "hold:3", "hold", "give_up", ARGS)
    run = run_of([
        THREE,
        [UndoingBegan(9, 1, undo=("hold:3", "hold:2"))],
        [WorkflowResumed(10), under_way],
        [CompensationCompleted(11, under_way.id), InputDeferred()],
        [WorkflowResumed(12), CompensationScheduled("compensate:hold:2", "hold:2", "hold", "give_up", ARGS)],
    ])  # fmt: skip

    assert not run.resumable
    assert run.activate([CompensationCompleted(13, "compensate:hold:2")]).effects == []
    assert run.state.is_undone


def test_what_failed_for_good_is_tried_again_with_its_key_before_the_others() -> None:
    error = ErrorInfo("Error", "no", "")
    tried = CompensationScheduled("compensate:hold:3", "hold:3", "hold", "give_up", ARGS, RESULT, "key")
    run = run_of([
        THREE,
        [UndoingBegan(9, 1, undo=("hold:3",))],
        [WorkflowResumed(10), tried],
        [CompensationFailed(11, tried.id, error)],
        [OwnerChanged(12), WorkflowCancelled()],
        [UndoingBegan(13, 1, undo=("hold:3", "hold:2"))],
    ])  # fmt: skip
    assert run.state.uncompensated == ()

    (first,) = run.activate([WorkflowResumed(14)]).effects
    assert isinstance(first, StartCompensation)
    assert (first.activity_id, first.key) == ("hold:3", "key")
    (second,) = run.activate([CompensationFailed(15, tried.id, error)]).effects
    assert isinstance(second, StartCompensation)
    assert second.activity_id == "hold:2"
    run.activate([CompensationCompleted(16, second.compensation_id)])

    assert run.state.is_undone
    assert [one.activity_id for one in run.state.not_undone] == ["hold:3"]
    assert [one.scheduled.id for one in run.state.to_compensate] == ["hold:1"]


def test_an_undo_of_the_body_and_what_may_have_taken_effect() -> None:
    run = run_of([
        [START, *done(1), UndoRegistered("undo:1", "close", ARGS), ActivityScheduled("attempt:1", "attempt", ARGS)],
        [ActivityAttemptFailed(5, "attempt:1", 1, ErrorInfo("Error", "no", ""), 6)],
        [UndoingBegan(9, 1, undo=("attempt:1", "undo:1", "hold:1"))],
    ])  # fmt: skip

    undone: list[str] = []
    activation = run.activate([WorkflowResumed(10)])
    while activation.effects:
        (effect,) = activation.effects
        assert isinstance(effect, StartCompensation)
        undone.append(effect.activity_id)
        activation = run.activate([CompensationCompleted(11, effect.compensation_id)])

    assert undone == ["attempt:1", "undo:1", "hold:1"]


def test_it_names_what_the_code_does_not_know_how_to_undo() -> None:
    run = run_of([[START, *done(1), *done(2, "other"), END], [UndoingBegan(9, 1, undo=("other:2", "hold:1"))]])

    assert run.state.not_to_be_undone() == ["other:2"]


def test_it_waits_for_nothing_and_heeds_no_cancellation() -> None:
    waits = MessageAwaited("go:1", Topic("go"), due=20)
    run = run_of([[START, *done(1), waits], [UndoingBegan(9, 1, undo=("hold:1",))]])

    assert run.outstanding() == []
    activation = run.activate([CancelRequested(10, "stop")])
    assert (activation.events, len(activation.dropped)) == ([], 1)


def test_a_run_with_code_leaves_it() -> None:
    run = run_of([[START, END], [UndoingBegan(9, 1)]], code=True)

    assert run.activate([WorkflowResumed(10)]).events == [WorkflowResumed(10)]
    assert run.state.is_undone


@pytest.mark.parametrize("undone", [False, True])
def test_a_retry_of_what_was_terminated_meanwhile_knows_what_was_undone(*, undone: bool) -> None:
    under_way = CompensationScheduled("compensate:hold:1", "hold:1", "hold", "give_up", ARGS)
    commits: list[list[LogEvent]] = [
        [START, *done(1), END],
        [UndoingBegan(9, 1, undo=("hold:1",))],
        [WorkflowResumed(10), under_way],
        [CompensationCompleted(11, under_way.id)] if undone else [],
        [OwnerChanged(12), WorkflowCancelled()],
    ]
    recall = Recall("one")
    for commit in commits:
        for event in commit:
            recall.follow(event)

    (item,) = recall.items
    assert (item.undone, item.unsure) == (undone, not undone)

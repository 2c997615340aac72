"""The judge of the shapes names each planted lie, of the log and of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import Raw

from romancy.core import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityScheduled,
    CancelRequested,
    CompensationCompleted,
    CompensationScheduled,
    OwnerChanged,
    TimerFired,
    TimerStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowStarted,
    idempotency_key,
)
from romancy.serialization import ErrorInfo
from romancy_conformance.chaos.shapes.acts import DO, UNDO, Act, Stood
from romancy_conformance.chaos.shapes.honesty import TERMINATED, compare, doubled, of_life
from romancy_conformance.chaos.shapes.paused import early_in, strange_in_pauses

if TYPE_CHECKING:
    from romancy.core import LogEvent

PUT, UNPUT = "put:1", "compensate:put:1"
SCHEDULED = ActivityScheduled(PUT, "put", Raw(b"{}"))
COMPLETED = ActivityCompleted(1, PUT)
ASKED = CancelRequested(1)
UNDOES = CompensationScheduled(UNPUT, PUT, "put", "take_back", Raw(b"{}"))
UNDONE = CompensationCompleted(1, UNPUT)
DID = Act(DO, "i", PUT, "a", 1, 7, 10.0)
UNDID = Act(UNDO, "i", UNPUT, "b", 1, 7, 11.0)
FAILED = WorkflowFailed(ErrorInfo("E", "no"))


@pytest.mark.parametrize(
    ("events", "acts", "found"),
    [
        pytest.param([SCHEDULED, COMPLETED, WorkflowCompleted()], [DID], [], id="completed"),
        pytest.param([SCHEDULED, COMPLETED, ASKED, UNDOES, UNDONE, WorkflowCancelled()], [DID, UNDID], [], id="undone"),
        pytest.param([SCHEDULED, ActivityCancelled(1, PUT), WorkflowCancelled()], [], [], id="cancelled"),
        pytest.param(
            [SCHEDULED, ActivityCancelled(1, PUT, unknown=True), WorkflowCancelled(unknown=(PUT,))],
            [DID],
            [],
            id="unknown, and named",
        ),
        pytest.param([SCHEDULED, WorkflowCancelled(TERMINATED)], [DID], [], id="terminated amid it"),
        pytest.param(
            [SCHEDULED, ActivityCancelled(1, PUT), WorkflowCancelled()], [DID], ["undone", "unheard"], id="unheard"
        ),
        pytest.param(
            [SCHEDULED, ActivityCancelRequested(PUT, never_started=True), WorkflowCompleted()],
            [DID],
            ["unheard"],
            id="never started, and done",
        ),
        pytest.param([SCHEDULED, FAILED], [DID], ["undone", "unheard"], id="no outcome"),
        pytest.param([SCHEDULED, COMPLETED, ASKED, WorkflowCancelled()], [DID], ["undone"], id="never undone"),
        pytest.param([SCHEDULED, COMPLETED, UNDOES, UNDONE, FAILED], [DID], ["lost", "undone"], id="a lost undo"),
        pytest.param([SCHEDULED, COMPLETED, UNDOES, FAILED], [DID, UNDID], ["lost"], id="an undo without its end"),
        pytest.param(
            [SCHEDULED, COMPLETED, WorkflowCompleted()], [DID, UNDID], ["undone", "unheard"], id="undone, and not asked"
        ),
        pytest.param([WorkflowCancelled(TERMINATED)], [DID], ["unheard"], id="a terminate that loses an effect"),
        pytest.param(
            [SCHEDULED, ActivityCancelled(1, PUT), WorkflowCancelled(TERMINATED)],
            [DID],
            ["unheard"],
            id="a terminate that calls an effect cancelled",
        ),
        pytest.param([SCHEDULED, COMPLETED, WorkflowCompleted()], [], ["lost"], id="completed, and never done"),
        pytest.param(
            [SCHEDULED, ActivityCancelled(1, PUT, unknown=True), WorkflowCancelled()],
            [DID],
            ["undone"],
            id="unknown, and not named",
        ),
    ],
)
def test_the_log_and_what_was_done(events: list[LogEvent], acts: list[Act], found: list[str]) -> None:
    assert found == sorted(kind for kind, _ in compare(events, acts))


def test_an_effect_of_a_process_that_died_may_be_missing_only_if_it_is_lazy() -> None:
    lazy = Act(DO, "i", "put_lazily:1", "a", 1, 7, 10.0)

    assert [] == compare([WorkflowCompleted()], [lazy], frozenset({7}))
    assert ["unheard"] == [kind for kind, _ in compare([WorkflowCompleted()], [lazy])]
    assert ["unheard"] == [kind for kind, _ in compare([WorkflowCancelled(TERMINATED)], [DID], frozenset({7}))]


@pytest.mark.parametrize(
    ("stood", "found"),
    [
        ([], 1),
        ([Stood(7, 10.5, 10.6)], 0),
        ([Stood(0, 10.5, 10.6)], 0),
        ([Stood(8, 10.5, 10.6)], 1),
        ([Stood(7, 12.5, 13.0)], 1),
        ([Stood(7, 5.0, 6.0)], 1),
        ([Stood(7, 5.0, 8.0)], 0),
    ],
    ids=["no death", "a death", "a server that died", "another's", "after both", "long before", "within a lease"],
)
def test_an_effect_that_stands_twice(stood: list[Stood], found: int) -> None:
    again = Act(UNDO, "i", UNPUT, "b", 1, 9, 12.0)

    assert found == len(doubled([DID, UNDID, again], stood, lease=3.0))


def test_only_the_effects_of_a_life_are_compared_with_its_log() -> None:
    """The ids of its activities are those of the life before."""
    one, two = (Act(DO, "i", PUT, idempotency_key("i", nonce, PUT), 1, 7, 10.0) for nonce in ("n", "m"))
    started = WorkflowStarted(1, "w", Raw(b"[]"), "n")

    assert [one] == of_life([started, SCHEDULED], [one, two])


@pytest.mark.parametrize(
    ("runs", "acts", "found"),
    [
        pytest.param("nm", "nm", [], id="each run has done its own"),
        pytest.param("nm", "n", ["lost"], id="the second one has not"),
        pytest.param("nm", "m", ["lost"], id="the first one has not"),
        pytest.param("nm", "nmx", ["unheard"], id="no run has done it"),
        pytest.param("m", "nm", [], id="the rows of the first one were removed"),
    ],
)
def test_runs_with_the_same_ids_are_compared_one_by_one(runs: str, acts: str, found: list[str]) -> None:
    log: list[LogEvent] = []
    for nonce in runs:
        end = WorkflowContinued(Raw(b"[]"), 2) if nonce == "n" else WorkflowCompleted()
        log += [WorkflowStarted(1, "w", Raw(b"[]"), nonce, 1 + "nm".index(nonce)), SCHEDULED, COMPLETED, end]
    did = [Act(DO, "i", PUT, idempotency_key("i", nonce, PUT), 1, 7, 10.0) for nonce in acts]

    assert found == [kind for kind, _ in compare(log, did)]


BEGINS, ENDS = OwnerChanged(1, pause="begins"), OwnerChanged(1, pause="ends")


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([SCHEDULED, COMPLETED, BEGINS, OwnerChanged(1, owner="w"), ENDS, WorkflowCompleted()], []),
        ([ENDS, SCHEDULED, BEGINS, WorkflowCancelled(TERMINATED), ENDS], ["a pause ends that has not begun"]),
        ([BEGINS, BEGINS, ENDS], ["a pause begins in a pause"]),
        ([BEGINS, SCHEDULED, ENDS], [f"ActivityScheduled {PUT} is in a pause"]),
        ([BEGINS, WorkflowCancelled("enough")], ["WorkflowCancelled  is in a pause"]),
    ],
    ids=["as it is to be", "terminated, and unpaused", "two pauses", "an activity", "an end"],
)
def test_what_a_log_has_in_its_pauses(events: list[LogEvent], found: list[str]) -> None:
    assert strange_in_pauses(events) == found


@pytest.mark.parametrize(
    ("freeze", "rings", "found"),
    [(False, 5, []), (False, 4, ["1 microseconds"]), (True, 8, []), (True, 5, ["3 microseconds"])],
)
def test_a_timer_that_rings_early_is_found(freeze: bool, rings: int, found: list[str]) -> None:  # noqa: FBT001 - a case
    log: list[LogEvent] = [
        TimerStarted("timer:1", 1.0, 5, 1.0),
        OwnerChanged(2, pause="begins", freeze=freeze),
        OwnerChanged(5, pause="ends"),
        TimerFired(rings, "timer:1"),
    ]

    assert [f"timer timer:1 rang {text} before it was due" for text in found] == early_in(log)

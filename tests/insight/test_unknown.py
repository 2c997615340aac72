"""How a timeline shows attempts that did not answer, and what is said about the slots that they keep."""

from __future__ import annotations

from msgspec import Raw

from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityScheduled,
    CancelRequested,
    WorkflowCancelled,
    WorkflowStarted,
)
from romancy.insight import Note, Timeline
from romancy.serialization import ErrorInfo

SECOND = 1_000_000
ERROR = ErrorInfo("romancy.errors.ActivityTimeoutError", "too long")


def told() -> Timeline:
    """A log of an activity with an attempt that did not answer, and a second one that was cancelled and did not."""
    return Timeline.of([
        WorkflowStarted(at=0, workflow="w", input=Raw(b"{}"), nonce="n"),
        ActivityScheduled("book:1", "book", Raw(b"{}")),
        ActivityAttemptFailed(SECOND, "book:1", 1, ERROR, 2 * SECOND, unknown=True),
        CancelRequested(3 * SECOND),
        ActivityCancelRequested("book:1"),
        ActivityCancelled(33 * SECOND, "book:1", unknown=True),
        WorkflowCancelled(unknown=("book:1",)),
    ])  # fmt: skip


def test_a_timeline_tells_what_is_unknown() -> None:
    timeline = told()
    (step,) = timeline.steps
    assert [failure.unknown for failure in step.failures] == [True]
    assert (step.stopped_at, step.outcome, step.unknown) == (3 * SECOND, "cancelled", True)
    assert step.ended_as == "cancelled, outcome unknown"
    assert timeline.unknown == ("book:1",)
    (*_, last) = timeline.entries
    assert isinstance(last, Note)
    assert last.text == "cancelled; outcome unknown: book:1"

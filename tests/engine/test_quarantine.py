"""What the tail of a log says about the owners an instance has lost."""

from __future__ import annotations

import pytest
from msgspec import Raw

from romancy.core import ActivityScheduled, LogEvent, OwnerChanged, WorkflowStarted
from romancy.engine._quarantine import deaths_and_trials
from romancy.serialization import dumps

NULL = Raw(dumps(None, "nothing"))
START: LogEvent = WorkflowStarted(at=1, workflow="w", input=NULL, nonce="n")
CALL: LogEvent = ActivityScheduled(id="a:1", name="a", args=NULL)
STEP = [START, CALL]
TAKEN_OVER: list[LogEvent] = [OwnerChanged(at=2, owner="w2")]
TRIED: list[LogEvent] = [OwnerChanged(at=3, owner="w2", alone=True)]
RELEASED: list[LogEvent] = [OwnerChanged(at=4, code="c1")]


@pytest.mark.parametrize(
    ("commits", "expected"),
    [
        ([STEP], (0, 0)),
        ([STEP, TAKEN_OVER], (1, 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER], (2, 0)),
        ([STEP, TAKEN_OVER, STEP, TAKEN_OVER], (1, 0)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, TRIED, TAKEN_OVER], (3, 1)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, TRIED, TAKEN_OVER, TRIED], (3, 2)),
        ([STEP, TAKEN_OVER, TAKEN_OVER, RELEASED], (0, 0)),
        ([STEP, TAKEN_OVER, RELEASED, TAKEN_OVER], (1, 0)),
        ([], (0, 0)),
    ],
)
def test_deaths_in_a_row_and_those_alone(commits: list[list[LogEvent]], expected: tuple[int, int]) -> None:
    assert expected == deaths_and_trials(commits)

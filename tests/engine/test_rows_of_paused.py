"""What a log says of its instance's pause, where the row is lost."""

from __future__ import annotations

import pytest
from msgspec import Raw

from romancy.core import LogEvent, OwnerChanged, WorkflowStarted
from romancy.engine.outside.lost_rows import LostRow
from romancy.status import Status
from romancy.storage.records import LogRow

STARTED = WorkflowStarted(at=1, workflow="order", input=Raw(b"{}"), nonce="n")
BEGINS, ENDS = OwnerChanged(at=2, pause="begins", reason="the bank is down"), OwnerChanged(at=3, pause="ends")


@pytest.mark.parametrize(
    ("commits", "status", "error"),
    [
        ([[STARTED, BEGINS]], Status.PAUSED, "the bank is down"),
        ([[STARTED], [BEGINS], [OwnerChanged(at=4)]], Status.PAUSED, "the bank is down"),
        ([[STARTED], [BEGINS], [ENDS]], Status.RUNNING, None),
    ],
)
def test_a_lost_row_is_paused_if_its_log_is(commits: list[list[LogEvent]], status: Status, error: str | None) -> None:
    lost = LostRow("o-1", 1)
    for seq, events in enumerate(commits, start=1):
        lost.add(LogRow(seq, "w", b"", seq), events)

    assert (status, error) == (lost.row().status, lost.row().error)

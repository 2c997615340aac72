"""What a timeline makes of the defaults in a long log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from romancy.core import ActivityFailed, ActivityScheduled, DefaultTaken
from romancy.insight import Timeline
from romancy.serialization import ErrorInfo

if TYPE_CHECKING:
    from types import FrameType

    from romancy.core import LogEvent

ERROR = ErrorInfo("ConnectionError", "no answer")


def calls_with_defaults(count: int) -> list[LogEvent]:
    """A log of calls, of which every second one gets a default."""
    log: list[LogEvent] = []
    for at in range(count):
        log += [ActivityScheduled(f"rate:{at}", "rate", Raw(b"{}")), ActivityFailed(at, f"rate:{at}", ERROR, 1)]
        if at % 2:
            log.append(DefaultTaken(f"rate:{at}"))
    return log


def calls_made(log: list[LogEvent]) -> int:
    """How many functions are called for the timeline of a log."""
    made = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        Timeline.of(log)
    finally:
        sys.setprofile(None)
    return made


def test_the_calls_that_got_a_default_say_so() -> None:
    assert [step.ended_as for step in Timeline.of(calls_with_defaults(4)).steps] == [
        "failed", "failed, its default returned",
    ] * 2  # fmt: skip


def test_each_default_costs_the_same_in_a_log_of_any_length() -> None:
    assert calls_made(calls_with_defaults(400)) < 2.1 * calls_made(calls_with_defaults(200))

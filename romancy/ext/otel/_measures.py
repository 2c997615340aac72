"""The instruments of the hook. Labels are names, statuses and outcomes, never ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.ext.otel._names import ACTIVITY, ERROR, EXPECTED, KIND, OUTCOME, STATUS, WORKFLOW, metric
from romancy.hooks import WorkflowEnded

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from opentelemetry.metrics import Meter

    from romancy.hooks import ActivityEnded, WorkflowContinued

__all__ = ["Measures"]


class Measures:
    """What one hook measures."""

    def __init__(self, meter: Meter) -> None:
        def made(make: Any, name: str) -> Any:
            row = metric(name)
            return make(row.name, unit=row.unit, description=row.meaning)

        self._attempt = made(meter.create_histogram, "romancy.activity.duration")
        self._waited = made(meter.create_histogram, "romancy.activity.schedule_to_start")
        self._retries = made(meter.create_counter, "romancy.activity.retries")
        self._unknown = made(meter.create_counter, "romancy.activity.unknown")
        self._run = made(meter.create_histogram, "romancy.workflow.duration")
        self._stuck = made(meter.create_counter, "romancy.workflow.stuck")
        self._late = made(meter.create_histogram, "romancy.schedule.schedule_to_start")
        self._skipped = made(meter.create_counter, "romancy.schedule.skipped")
        self._sent = made(meter.create_counter, "romancy.sent")
        self._leases = made(meter.create_counter, "romancy.lease.lost")
        self.committed: Callable[[float], None] = made(meter.create_histogram, "romancy.commit.duration").record
        """A batch of writes took so many seconds."""

    def attempt(self, event: ActivityEnded) -> None:
        """An attempt ended."""
        activity = event.activity_name
        labels = {ACTIVITY: activity, OUTCOME: event.outcome, **_failed(event)}
        self._attempt.record(event.duration.total_seconds(), labels)
        if event.outcome == "retrying":
            self._retries.add(1, {ACTIVITY: activity})
        if event.unknown:
            self._unknown.add(1, {ACTIVITY: activity})

    def waited(self, activity: str, duration: timedelta) -> None:
        """An attempt began."""
        self._waited.record(duration.total_seconds(), {ACTIVITY: activity})

    def run(self, event: WorkflowEnded | WorkflowContinued, status: str, duration: timedelta) -> None:
        """A run ended."""
        failed = _failed(event) if isinstance(event, WorkflowEnded) else {}
        self._run.record(duration.total_seconds(), {WORKFLOW: event.workflow_name, STATUS: status, **failed})

    def stuck(self, workflow: str) -> None:
        """An instance became stuck."""
        self._stuck.add(1, {WORKFLOW: workflow})

    def late(self, workflow: str, duration: timedelta) -> None:
        """A run of a schedule began, so long after its time."""
        self._late.record(max(0.0, duration.total_seconds()), {WORKFLOW: workflow})

    def skipped(self, workflow: str, number: int) -> None:
        """A schedule has dropped ticks."""
        self._skipped.add(number, {WORKFLOW: workflow})

    def lease_lost(self) -> None:
        """A worker lost its lease."""
        self._leases.add(1)

    def sent(self, kind: str) -> None:
        """Something was sent."""
        self._sent.add(1, {KIND: kind})


def _failed(event: ActivityEnded | WorkflowEnded) -> dict[str, Any]:
    if event.error_type is None:
        return {}
    return {ERROR: event.error_type, EXPECTED: True} if event.expected else {ERROR: event.error_type}

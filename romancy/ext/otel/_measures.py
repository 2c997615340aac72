"""The instruments of the hook. Labels are names, statuses and outcomes, never ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.ext.otel._names import ACTIVITY, KIND, OUTCOME, STATUS, WORKFLOW, metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from opentelemetry.metrics import Meter

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

    def attempt(self, activity: str, outcome: str, duration: timedelta, *, unknown: bool = False) -> None:
        """An attempt ended."""
        self._attempt.record(duration.total_seconds(), {ACTIVITY: activity, OUTCOME: outcome})
        if outcome == "retrying":
            self._retries.add(1, {ACTIVITY: activity})
        if unknown:
            self._unknown.add(1, {ACTIVITY: activity})

    def waited(self, activity: str, duration: timedelta) -> None:
        """An attempt began."""
        self._waited.record(duration.total_seconds(), {ACTIVITY: activity})

    def run(self, workflow: str, status: str, duration: timedelta) -> None:
        """A run ended."""
        self._run.record(duration.total_seconds(), {WORKFLOW: workflow, STATUS: status})

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

"""The names of attributes and metrics, in one table each. There are no conventions for workflows yet."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["ATTRIBUTES", "METRICS", "SCOPE", "Attribute", "Metric", "metric"]

SCOPE: Final = "romancy"
"""The instrumentation scope."""


class Attribute(NamedTuple):
    """An attribute of spans, and of metrics if it says so."""

    name: str
    meaning: str
    label: bool = False
    """Whether metrics have it too. Ids are never labels."""


class Metric(NamedTuple):
    """An instrument."""

    name: str
    kind: str
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()


INSTANCE: Final = "romancy.instance.id"
WORKFLOW: Final = "romancy.workflow.name"
RUN: Final = "romancy.run"
STATUS: Final = "romancy.status"
ACTIVITY_ID: Final = "romancy.activity.id"
ACTIVITY: Final = "romancy.activity.name"
ATTEMPT: Final = "romancy.attempt"
OUTCOME: Final = "romancy.outcome"
COMPENSATES: Final = "romancy.compensates"
NEXT_ATTEMPT: Final = "romancy.next_attempt_at"
WORKER: Final = "romancy.worker.id"
KIND: Final = "romancy.sending.kind"
TARGET: Final = "romancy.target.instance.id"
EVENT: Final = "romancy.event.type"
WAIT: Final = "romancy.wait.id"
PARENT: Final = "romancy.parent.instance.id"
UNCOMPENSATED: Final = "romancy.uncompensated"
UNKNOWN: Final = "romancy.unknown"
UNKNOWN_ACTIVITIES: Final = "romancy.unknown_activities"
ERROR: Final = "error.type"
EXPECTED: Final = "romancy.expected"

ATTRIBUTES: Final = (
    Attribute(INSTANCE, "the instance; for a sending, the instance that sends"),
    Attribute(WORKFLOW, "the workflow", label=True),
    Attribute(RUN, "1, and one more after each `recur` and each retry"),
    Attribute(STATUS, "how the workflow ended", label=True),
    Attribute(ACTIVITY_ID, "the activity in the log"),
    Attribute(ACTIVITY, "the activity's function", label=True),
    Attribute(ATTEMPT, "the number of the attempt"),
    Attribute(OUTCOME, "how the attempt, or a wait, ended", label=True),
    Attribute(COMPENSATES, "the id of the activity that a compensation undoes"),
    Attribute(NEXT_ATTEMPT, "when the next attempt begins"),
    Attribute(WORKER, "the worker that ran it"),
    Attribute(KIND, "the kind of the sending: `start`, `signal`, `send`, `message` or `publish`", label=True),
    Attribute(TARGET, "the instance that it is sent to"),
    Attribute(EVENT, "the type of the event, or the channel"),
    Attribute(WAIT, "the wait in the log"),
    Attribute(PARENT, "the instance that started this one as its child"),
    Attribute(UNCOMPENSATED, "the compensations that failed for good"),
    Attribute(UNKNOWN, "true for an attempt that was told to stop and did not answer"),
    Attribute(UNKNOWN_ACTIVITIES, "the activities of unknown outcome that were not undone"),
    Attribute(ERROR, "the type of the exception", label=True),
    Attribute(EXPECTED, "true for a failure that belongs to the business (`Expected`)", label=True),
)

_IF_FAILED: Final = (ERROR, EXPECTED)
"""Labels of what has failed."""

METRICS: Final = (
    Metric(
        "romancy.activity.duration", "histogram", "s", "the time that an attempt took", (ACTIVITY, OUTCOME, *_IF_FAILED)
    ),
    Metric("romancy.activity.schedule_to_start", "histogram", "s", "the wait of an attempt for a slot", (ACTIVITY,)),
    Metric("romancy.activity.retries", "counter", "{attempt}", "attempts that failed and are made again", (ACTIVITY,)),
    Metric("romancy.activity.unknown", "counter", "{attempt}", "attempts whose outcome is unknown", (ACTIVITY,)),
    Metric("romancy.workflow.duration", "histogram", "s", "the time that a run took", (WORKFLOW, STATUS, *_IF_FAILED)),
    Metric("romancy.workflow.stuck", "counter", "{instance}", "instances that became stuck", (WORKFLOW,)),
    Metric(
        "romancy.schedule.schedule_to_start",
        "histogram",
        "s",
        "how long after its time a run of a schedule began",
        (WORKFLOW,),
    ),
    Metric("romancy.schedule.skipped", "counter", "{tick}", "ticks that a schedule dropped", (WORKFLOW,)),
    Metric("romancy.sent", "counter", "{message}", "starts, signals, events and messages sent", (KIND,)),
    Metric("romancy.commit.duration", "histogram", "s", "the time that a batch of writes took"),
    Metric("romancy.lease.lost", "counter", "{lease}", "leases that a worker could not renew in time"),
    Metric("romancy.instances", "gauge", "{instance}", "open instances by status, each up to a limit", (STATUS,)),
    Metric(
        "romancy.open",
        "gauge",
        "{instance}",
        "open instances, of each status the oldest up to a limit",
        (WORKFLOW, STATUS),
    ),
    Metric("romancy.open.oldest", "gauge", "s", "the age of the oldest open instance", (WORKFLOW,)),
    Metric("romancy.waiting.oldest", "gauge", "s", "the age of the oldest waiting instance"),
    Metric("romancy.outbox.depth", "gauge", "{event}", "published events that are still to be sent, up to a limit"),
    Metric("romancy.outbox.oldest", "gauge", "s", "the age of the oldest of them"),
)


def metric(name: str) -> Metric:
    """The row of the table."""
    return next(one for one in METRICS if one.name == name)

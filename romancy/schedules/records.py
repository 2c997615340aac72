"""What a schedule is, what it has done, and what it can be told."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, TypeAlias

from msgspec import Raw, Struct
from msgspec.structs import replace

from romancy._schedule_options import Overlap, ScheduleOptions
from romancy.event import EventType

__all__ = [
    "ORDER",
    "PREFIX",
    "WORKFLOW",
    "Backfill",
    "Change",
    "Definition",
    "Delete",
    "Order",
    "Outcome",
    "Pause",
    "Progress",
    "Resume",
    "ScheduleRun",
    "State",
    "Stretch",
    "Trigger",
    "instance_of",
    "schedule_of",
]

WORKFLOW: Final = "romancy.schedule"
"""The workflow whose instances are the schedules."""
PREFIX: Final = "schedule:"
_NOTHING: Final = Raw(b"null")
_MOST_RUNS: Final = 10
"""How many of its last runs a schedule tells."""

Outcome: TypeAlias = Literal["open", "completed", "failed", "cancelled", "joined"]


class Definition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is started, and when."""

    id: str
    options: ScheduleOptions
    workflow: str
    input: Raw
    digest: str
    """Tells this input from another one where the input itself is left out."""
    headers: dict[str, str] = {}
    limit: int = 0
    """The `timeout` of each run in microseconds; 0: none."""
    priority: int = 0
    fair_key: str = ""
    weight: int = 1
    declared: bool = False
    """Whether the code of its workflow declares it."""

    @property
    def without_input(self) -> Definition:
        """As it is reported: the input may be large, and is written once a run."""
        return replace(self, input=_NOTHING)


class ScheduleRun(Struct, frozen=True, kw_only=True):
    """An instance that a schedule has started."""

    instance_id: str
    scheduled_at: datetime
    outcome: Outcome = "open"
    """"joined": the instance was there already, by a backfill of the same time."""


class Stretch(Struct, frozen=True, kw_only=True):
    """A backfill under way: what is due after one moment and until another one."""

    after: datetime
    until: datetime


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a schedule has done. A value: each change makes a new one."""

    since: datetime
    """What was due until this moment has been decided."""
    paused: str | None = None
    """Why it is paused. None: it is not."""
    buffered: datetime | None = None
    """A tick that waits for the end of the run before it."""
    deleted: bool = False
    """Whether it is deleted. Its instance waits a while for a declaration that is on its way, and then ends."""
    backfills: tuple[Stretch, ...] = ()
    started: int = 0
    skipped: int = 0
    dropped: int = 0
    """How many of them since the report before."""
    failed: int = 0
    triggered: int = 0
    runs: tuple[ScheduleRun, ...] = ()
    """The last ones, in the order of their starts."""
    next: datetime | None = None
    """The next tick. None: nothing follows, or the schedule is paused."""

    def dropping(self, number: int) -> Progress:
        return replace(self, skipped=self.skipped + number, dropped=self.dropped + number)

    def began(self, run: ScheduleRun) -> Progress:
        return replace(self, started=self.started + 1, runs=(*self.runs, run)[-_MOST_RUNS:])

    def ended(self, instance_id: str, outcome: Outcome) -> Progress:
        runs = tuple(replace(run, outcome=outcome) if run.instance_id == instance_id else run for run in self.runs)
        return replace(
            self,
            runs=runs,
            failed=self.failed + (outcome == "failed"),
            started=self.started - (outcome == "joined"),
        )


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the instance of a schedule reports."""

    definition: Definition
    progress: Progress
    hears: bool = False
    """Whether it has received an order that it has not carried out."""


class Change(Struct, frozen=True, tag="change"):
    """The schedule has had another definition since this moment."""

    definition: Definition
    declared_at: datetime


class Pause(Struct, frozen=True, tag="pause"):
    """Nothing is started until `Resume`."""

    note: str


class Resume(Struct, frozen=True, tag="resume"):
    """The schedule goes on with what is due from now on."""


class Trigger(Struct, frozen=True, tag="trigger"):
    """One run is started now."""

    overlap: Overlap | None = None


class Backfill(Struct, frozen=True, tag="backfill"):
    """All that was due in this stretch of time is started."""

    start: datetime
    end: datetime


class Delete(Struct, frozen=True, tag="delete"):
    """The schedule ends. Its runs go on."""


Order: TypeAlias = Change | Pause | Resume | Trigger | Backfill | Delete
ORDER: Final[EventType[Order]] = EventType("romancy.schedule", Order)


def instance_of(schedule_id: str) -> str:
    """The id of the instance that is this schedule."""
    return PREFIX + schedule_id


def schedule_of(instance_id: str) -> str:
    """The id of the schedule that this instance is."""
    return instance_id.removeprefix(PREFIX)

"""An instance as lists and searches return it: a snapshot of its row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from romancy._microseconds import at_of, moment_of
from romancy.core import WorkflowCompleted, WorkflowStarted, decode_commit
from romancy.errors import HistoryCorruptError, UsageError
from romancy.serialization import cause_first, loads, refuse_sealed
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.records import History, InstanceRow

__all__ = [
    "Counts",
    "Instance",
    "InstancePage",
    "Purged",
    "Untaken",
    "Wait",
    "at_of",
    "changed_at",
    "headers_in",
    "moment_of",
    "raw_start_of",
]


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that an instance waits for."""

    kind: Literal[
        "activity", "timer", "event", "message", "request", "question", "subscription", "members", "place", "child",
        "compensation",
    ]  # fmt: skip
    id: str
    name: str
    """The name of the activity, the event, the channel, the question or the child's workflow."""
    since: datetime
    due: datetime | None
    """When the clock moves it: a timer rings, a wait times out, the next attempt begins. None if the clock does not."""
    failed_attempts: int
    error: str | None
    """The error of the last attempt that failed."""
    key: str | None
    """For an event: the key of the wait. For a message or a subscription: the mode of the channel. For a question: who
    is asked."""
    child_id: str | None
    """For a child: its instance id."""


@dataclass(frozen=True, slots=True)
class Untaken:
    """A message in the inbox of an instance that has become no part of its log.

    No worker has taken it yet, or it is an event that fits no wait. Such an event is kept until the workflow waits for
    it.
    """

    kind: Literal["cancel", "pause", "terminate", "signal", "answer", "refusal", "sealed"]
    """`sealed`: it cannot be read without its codec."""
    at: datetime
    """When it was sent."""
    name: str = ""
    """The name of the event or of the question, or the reason of the request."""
    key: str | None = None
    id: str = ""
    """The id of the event."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance, as it was when it was read."""

    instance_id: str
    workflow_name: str
    status: Status
    """What its row says. While an activity runs, and during a sleep of at most two seconds, it is `running`."""
    created_at: datetime
    updated_at: datetime
    error: str | None
    parent_id: str | None
    wakes_at: datetime | None
    """When the clock moves it. None during a sleep of at most two seconds: the worker keeps the instance, and writes no
    row for it. `waits` names such a sleep too.
    """
    raw_input: bytes
    """The input as stored: a JSON object of the parameters by name."""
    waits: tuple[Wait, ...] | None = None
    """What it waits for, in the order in which the waits began. None if `get_instance` was not asked for it."""
    untaken: tuple[Untaken, ...] | None = None
    """Requests and events that were sent to it and that it has not taken, in the order of their times. None: as above.
    """
    priority: int = 0
    """What it was started with: the higher goes first."""
    raw_end: bytes | None = field(default=None, repr=False)
    """The commit that completed it, as stored. None if it has not completed, or a list was not asked `with_results`."""

    raw_start: bytes | None = field(default=None, repr=False, compare=False)
    """A commit that begins a run of it, as stored. None if a list was not asked `with_headers`."""
    log_length: int = field(default=1, repr=False, compare=False)
    """The number of the commit that last changed its row: of an ended one, the last of its log."""

    @property
    def next_attempt(self) -> datetime | None:
        """When the next attempt after a failure begins. None without such an attempt, or without `waits`."""
        return min((wait.due for wait in self.waits or () if wait.failed_attempts and wait.due), default=None)

    @property
    def last_error(self) -> str | None:
        """The error of the last failed attempt among the waits; else `error`, of the instance itself."""
        failed = [wait for wait in self.waits or () if wait.error is not None]
        return failed[-1].error if failed else self.error

    @property
    def input(self) -> Any:
        """The input as plain JSON values. Raises CodecError if it needs a codec that this app does not have."""
        what = f"input of instance {self.instance_id}"
        refuse_sealed(self.raw_input, "input", f"the {what}")
        return loads(self.raw_input, Any, what)

    @property
    def result(self) -> Any:
        """What the workflow returned, as plain JSON values; None if it has not completed.

        It is there in lists that were asked `with_results=True`; elsewhere this raises UsageError. Raises CodecError
        if the result needs a codec that this app does not have, and HistoryVersionError if a newer Romancy wrote it.
        """
        if self.status is not Status.COMPLETED:
            return None
        what = f"result of instance {self.instance_id}"
        if self.raw_end is None:
            raise UsageError(
                f"the {what} was not read: await handle.result(), or ask for it with list_instances(with_results=True)"
            )
        refuse_sealed(self.raw_end, "commit", f"the {what}")
        ends = [event for event in decode_commit(self.raw_end) if isinstance(event, WorkflowCompleted)]
        if not ends:
            raise HistoryCorruptError(f"the {what}: its last commit does not complete it")
        return loads(ends[0].result, Any, what)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the starter sent, those of a trace included. Empty if it sent none.

        They are there from `get_instance`, and in lists that were asked `with_headers=True`; elsewhere this raises
        UsageError. Raises CodecError if they need a codec that this app does not have, and HistoryVersionError if a
        newer Romancy wrote them.
        """
        return dict(self._start("headers").headers)

    @property
    def fair_key(self) -> str | None:
        """On whose behalf it was started, by `options(fair_key=…)`. None if on nobody's.

        It is there, and raises, where `headers` are and do.
        """
        return self._start("fair key").fair_key or None

    def _start(self, what: str) -> WorkflowStarted:
        if self.raw_start is None:
            raise UsageError(
                f"the {what} of instance {self.instance_id} were not read: ask for them with get_instance, or with "
                "list_instances(with_headers=True)"
            )
        return _start_in(self.raw_start, self.instance_id)

    @classmethod
    def of(
        cls,
        row: InstanceRow,
        waits: tuple[Wait, ...] | None = None,
        untaken: tuple[Untaken, ...] | None = None,
        raw_end: bytes | None = None,
        raw_start: bytes | None = None,
    ) -> Self:
        """The snapshot of a row."""
        return cls(
            instance_id=row.instance_id,
            workflow_name=row.workflow_name,
            status=row.status,
            created_at=moment_of(row.created_at),
            updated_at=moment_of(row.updated_at),
            error=None if row.error is None else cause_first(row.error),
            parent_id=row.parent,
            wakes_at=None if row.wake_at is None else moment_of(row.wake_at),
            raw_input=row.input,
            waits=waits,
            untaken=untaken,
            priority=row.priority,
            raw_end=raw_end,
            raw_start=raw_start,
            log_length=row.last_seq,
        )

    @classmethod
    def begun(cls, history: History) -> Self:
        """The snapshot of a row that was read with the first commit of its log."""
        return cls.of(history.instance, raw_start=raw_start_of(history))


@dataclass(frozen=True, slots=True)
class InstancePage:
    """A page of instances, in the order that was asked for."""

    instances: list[Instance]
    next_page_token: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is another page."""
        return self.next_page_token is not None


class Purged(int):
    """How many instances a purge has removed: a number."""

    open: tuple[str, ...]
    """With `children=True`: the ids of children that are open. They were left alone."""

    def __new__(cls, count: int = 0, still_open: tuple[str, ...] = ()) -> Self:
        purged = super().__new__(cls, count)
        purged.open = still_open
        return purged


def headers_in(raw_start: bytes, instance_id: str) -> dict[str, str]:
    """The headers in a commit that begins a run. They are those of every run of its instance."""
    return dict(_start_in(raw_start, instance_id).headers)


def _start_in(raw_start: bytes, instance_id: str) -> WorkflowStarted:
    what = f"the start of instance {instance_id}"
    refuse_sealed(raw_start, "commit", what)
    starts = [event for event in decode_commit(raw_start) if isinstance(event, WorkflowStarted)]
    if not starts:
        raise HistoryCorruptError(f"{what}: the first commit of its log begins no run")
    return starts[-1]


def raw_start_of(history: History) -> bytes:
    """The first commit of a log that was read from its beginning. Empty if there is none."""
    return history.rows[0].body if history.rows else b"[]"


class Counts(int):
    """How many instances match: a number. No entry of its parts is 0."""

    by_status: dict[Status, int]
    by_workflow: dict[str, int]
    by_workflow_and_status: dict[tuple[str, Status], int]

    def __new__(cls, numbers: Mapping[tuple[str, Status], int] | None = None) -> Self:
        ordered = sorted((numbers or {}).items())
        counts = super().__new__(cls, sum(number for _, number in ordered))
        statuses, workflows = Counter[Status](), Counter[str]()
        for (workflow, status), number in ordered:
            statuses[status] += number
            workflows[workflow] += number
        counts.by_status = {status: statuses[status] for status in Status if status in statuses}
        counts.by_workflow = dict(workflows)
        counts.by_workflow_and_status = dict(ordered)
        return counts


def changed_at(instance: Instance) -> int:
    """The database's time of the last change, in µs."""
    return at_of(instance.updated_at)

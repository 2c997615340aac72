"""Folds the log into a state: what is in flight, what is done, and how the run ended. `_kinds` has what each kind does.

The state is the run's only bookkeeping, live and on replay, and it needs no workflow code. An instance whose code is
missing or does not fit can still be looked at, cancelled and compensated.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.core import _events as ev
from romancy.core._effects import RunEnd, StopAt
from romancy.core._in_flight import LATEST, Attempted, Child, Compensable
from romancy.core._kinds import AWAITED, FOLDS, STATUS_OF
from romancy.core._shared_empty import NO_DICT, NO_LIST
from romancy.errors import HistoryCorruptError
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Raw

    from romancy.core import _message_events as ms
    from romancy.core._answers import ActivityCall
    from romancy.core._definitions import ActivityDefinition
    from romancy.core._memory import Kind, Memory, Remembered
    from romancy.core._messages import Mode, Topic
    from romancy.core._recall import Recall

__all__ = ["State"]

_ITS_END: Final = ""
_WITH_ATTEMPTS: Final = ("activities", "compensations")
_NEVER: Final = -(2**62)  # before every time, also before 1970, where a test may begin
_RUNNING: Final = Status.RUNNING
_WAITING: Final = Status.WAITING
_COMPLETED: Final = Status.COMPLETED
"""Python 3.11 calls a function for each `Status.RUNNING`."""


_awaited: Final = AWAITED.get
"""From CPython 3.12 on, a method of a name that was imported is looked up at each call."""


class State:
    """The state of one run after the events applied so far."""

    __slots__ = (
        "abandoned",
        "activities",
        "cancel",
        "children",
        "compensable",
        "compensations",
        "due",
        "joining",
        "known",
        "latest",
        "left",
        "limits",
        "listing",
        "memory",
        "parked",
        "progress",
        "recall",
        "started",
        "subscriptions",
        "terminal",
        "time",
        "timers",
        "to_compensate",
        "uncompensated",
        "unknown",
        "waits",
    )

    def __init__(self, compensable: dict[str, ActivityDefinition] = NO_DICT) -> None:
        self.compensable = compensable
        """Activities whose effect can be undone, by name."""
        self.known: Mapping[str, ActivityDefinition] = NO_DICT
        """Activities that the run may not have called itself; they undo the effects of former runs."""
        self.latest = ""
        """The activity that completed last."""
        self.recall: Recall | None = None
        """The runs that this one retries."""
        self.memory: Memory | None = None
        """The memory of those runs."""
        self.started: ev.WorkflowStarted | None = None
        self.time = _NEVER
        self.activities: dict[str, ActivityCall] = {}
        """The calls of activities that were scheduled and whose outcome is not known."""
        self.timers: dict[str, ev.TimerStarted] = NO_DICT
        self.waits: dict[str, ms.MessageAwaited] = NO_DICT
        self.subscriptions: dict[Topic, Mode] = NO_DICT
        """The topics that the instance has subscribed to."""
        self.joining: dict[str, ms.Subscribed] = NO_DICT
        """Pending subscriptions: asked for, and neither granted nor refused."""
        self.listing: dict[str, ms.MembersAsked] = NO_DICT
        """Questions for the members of channels that have no answer."""
        self.left: dict[Topic, None] = NO_DICT
        """The topics whose copies the run gets no more: it neither subscribes nor waits. It ignores those that come."""
        self.children: dict[str, Child] = NO_DICT
        self.compensations: dict[str, Attempted] = NO_DICT
        self.to_compensate: list[Compensable] = NO_LIST
        self.uncompensated: tuple[str, ...] = ()
        self.unknown: tuple[str, ...] = ()
        """Activities of which nobody knows whether they took effect, and which are not to be undone."""
        self.cancel: ev.CancelRequested | None = None
        self.limits: dict[str, StopAt] = NO_DICT
        """When the instance is to stop, while its body goes on; empty without a limit."""
        self.parked: str | None = None
        self.abandoned = False
        self.progress: Raw | None = None
        self.terminal: ev.Command | None = None
        self.due: list[tuple[int, str, str]] = NO_LIST
        """A heap of due times. Entries that are no longer waited for stay until they come up."""

    def begin_limit(self, due: int, limit: int) -> None:
        """Record when the instance is to stop."""
        self.limits = {_ITS_END: StopAt(due, limit)}
        self.expect(due, "limits", _ITS_END)

    def end_limit(self) -> None:
        """Record that the instance has stopped, or was asked to."""
        self.limits = NO_DICT

    def can_undo(self, definition: ActivityDefinition) -> None:
        """Record that this activity has a compensation, or is one itself."""
        if self.compensable is NO_DICT:
            self.compensable = {}
        self.compensable[definition.name] = definition

    def compensates(self, activity: str) -> str:
        """Which outcomes of an activity of this name are undone: `completed`, also `attempted`, or none (empty)."""
        definition = self.undoes(activity)
        return "" if definition is None else definition.given.compensate

    def undoes(self, activity: str) -> ActivityDefinition | None:
        """The activity of this name, if it has a compensation."""
        definition = self.compensable.get(activity)
        if definition is None and self.memory is not None:
            definition = self.known.get(activity)
        return None if definition is None or definition.undo is None else definition

    def registered(self, undo: str) -> ActivityDefinition | None:
        """The activity of this name, which a body has registered as an undo."""
        return self.compensable.get(undo) or self.known.get(undo)

    def apply(self, event: ev.LogEvent) -> ActivityCall | None:
        """Apply one event. Returns the call of an activity that it is about.

        Raises HistoryCorruptError when the event cannot follow the ones before.
        """
        try:
            return FOLDS[type(event)](self, event)
        except KeyError as error:
            name = type(event).__name__
            raise HistoryCorruptError(f"the log holds {name} for {error}, which is not in flight") from error

    def accepts(self, event: ev.Input) -> bool:
        """Whether the run still waits for this input. A late or repeated one changes nothing and is not written.

        The end of a child is always written. Otherwise the message about a former run's child would be delivered
        forever.
        """
        if self.terminal is not None:
            return False
        awaited = _awaited(type(event))
        if awaited is not None:
            return event.id in getattr(self, awaited)  # type: ignore[attr-defined]
        if isinstance(event, ev.WorkflowStarted):
            return self.started is None
        if isinstance(event, ev.CancelRequested):
            return self.cancel is None and (not event.limit or bool(self.limits))
        return True

    @property
    def waits_for_something(self) -> bool:
        """Whether an input that answers a command may still come."""
        return bool(self.activities or self.timers or self.waits or self.children or self.joining or self.listing)

    def wake_at(self) -> int | None:
        """The earliest time (µs) at which something is due by the clock alone; None once the run has ended."""
        if self.terminal is not None:
            return None
        due = self.due
        while due and not self._still_due(*due[0]):
            heappop(due)
        return due[0][0] if due else None

    def _still_due(self, at: int, kind: str, id: str) -> bool:
        waiting: Any = getattr(self, kind).get(id)
        if waiting is None:
            return False
        return bool((waiting.next_at if kind in _WITH_ATTEMPTS else waiting.due) == at)

    def expect(self, at: int, kind: str, id: str) -> None:
        """Record a due time, which counts if the run still waits for it by then."""
        if self.due is NO_LIST:
            self.due = []
        heappush(self.due, (at, kind, id))

    def undo_later(self, scheduled: ev.ActivityScheduled, result: Raw) -> None:
        """Record that the effect of this activity is to be undone if the run fails."""
        former = None if self.memory is None else self.memory.given.get(("activities", scheduled.id))
        if former is None or former.undone:
            self.put_back(Compensable(scheduled, result))
        else:
            self.put_back(Compensable(scheduled, result, former.position, former.undo_key))

    def put_back(self, done: Compensable) -> None:
        """Insert the entry by the time of completion, in place of the entry that a former run left for it."""
        if self.to_compensate is NO_LIST:
            self.to_compensate = []
        waiting = self.to_compensate
        if done.position == LATEST:
            waiting.append(done)
            return
        place = bisect_left(waiting, done.position, key=lambda one: one.position)
        if place < len(waiting) and waiting[place].position == done.position:
            waiting[place] = done
        else:
            waiting.insert(place, done)

    # ── what former runs left ───────────────────────────────────────────────────────────────────────────────────

    @property
    def remembered(self) -> Mapping[tuple[Kind, str], Remembered]:
        """The requests that are to be answered from the memory."""
        return NO_DICT if self.memory is None else self.memory.to_answer

    def answered(self, kind: Kind, id: str) -> None:
        """Record that a request has its answer."""
        if self.memory is not None:
            self.memory.to_answer.pop((kind, id), None)

    def given_up(self, kind: Kind, id: str) -> None:
        """Record that the answer is no longer wanted. The next such request may have it."""
        if self.memory is not None:
            self.memory.give_back(kind, id)

    def next_answer(self) -> ev.Input | None:
        """The next input that comes from a former run, if any. It stays the next until it is applied."""
        return None if self.memory is None else self.memory.next_answer(self.time)

    def left_unknown(self) -> tuple[str, ...]:
        """What a failure names: activities of unknown outcome, and those of former runs that stand without a result."""
        return self.unknown if self.memory is None else (*self.unknown, *self.memory.standing_without_result())

    def status(self) -> Status:
        if self.terminal is not None:
            return STATUS_OF[type(self.terminal)]
        if self.parked is not None:
            return Status.STUCK
        if self.compensations:
            return Status.COMPENSATING
        if self.cancel is not None:
            return Status.CANCELLING
        if self.started is None:
            return Status.PENDING
        at_work = self.activities or self.remembered or self.joining or self.listing
        return _RUNNING if at_work else _WAITING

    def outcome(self) -> RunEnd | None:
        """How the run ended; None while it has not ended, or if it continues as another run."""
        return None if self.terminal is None else outcome_of(self.terminal)


def outcome_of(terminal: ev.Command) -> RunEnd | None:
    """How the run ended; None if it continues as another run."""
    if isinstance(terminal, ev.WorkflowCompleted):
        return RunEnd(_COMPLETED, result=terminal.result, unclaimed=terminal.unclaimed)
    if isinstance(terminal, ev.WorkflowFailed):
        how = RunEnd(Status.FAILED, error=terminal.error)
    elif isinstance(terminal, ev.WorkflowCancelled):
        how = RunEnd(Status.CANCELLED, reason=terminal.reason)
    else:
        return None
    return replace(how, uncompensated=terminal.uncompensated, unclaimed=terminal.unclaimed, unknown=terminal.unknown)

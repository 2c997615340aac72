"""The log folded into a state: what is in flight, what has been done, how it ended. One function per kind of event.

The state is the run's only bookkeeping, live and on replay alike, and it needs no workflow code: an instance whose
code is missing or does not fit can still be looked at, cancelled and compensated from here.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw, Struct

from romancy.core import _events as ev
from romancy.core._effects import Outcome
from romancy.core._nothing import NO_DICT, NO_LIST
from romancy.errors import HistoryCorruptError
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core._definitions import ActivityDefinition

__all__ = ["Attempted", "Child", "Compensable", "State"]


class Attempted(Struct, gc=False):
    """An activity or a compensation in flight: how many attempts have failed and when the next is due."""

    scheduled: Any
    failures: int = 0
    next_at: int | None = None
    cancel_requested: bool = False
    details: Raw | None = None


class Child(Struct, gc=False):
    """A child workflow that has not ended."""

    started: ev.ChildStarted
    cancel_requested: bool = False


class Compensable(Struct, frozen=True, gc=False):
    """An activity whose effect is to be undone if the run fails."""

    scheduled: ev.ActivityScheduled
    result: Raw


class State:
    """Where one run stands after the events applied so far."""

    __slots__ = (
        "_due",
        "abandoned",
        "activities",
        "cancel",
        "children",
        "compensable",
        "compensations",
        "parked",
        "progress",
        "started",
        "terminal",
        "time",
        "timers",
        "to_compensate",
        "uncompensated",
        "waits",
    )

    def __init__(self, compensable: dict[str, ActivityDefinition] = NO_DICT) -> None:
        self.compensable = compensable
        """Activities whose effect can be undone, by name."""
        self.started: ev.WorkflowStarted | None = None
        self.time = 0
        self.activities: dict[str, Attempted] = {}
        self.timers: dict[str, ev.TimerStarted] = NO_DICT
        self.waits: dict[str, ev.EventAwaited] = NO_DICT
        self.children: dict[str, Child] = NO_DICT
        self.compensations: dict[str, Attempted] = NO_DICT
        self.to_compensate: list[Compensable] = NO_LIST
        self.uncompensated: tuple[str, ...] = ()
        self.cancel: ev.CancelRequested | None = None
        self.parked: str | None = None
        self.abandoned = False
        self.progress: Raw | None = None
        self.terminal: ev.Command | None = None
        self._due: list[tuple[int, str, str]] = NO_LIST
        """A heap of what is due when, in which things no longer waited for are left until they come up."""

    def can_undo(self, definition: ActivityDefinition) -> None:
        """This activity has a compensation."""
        if self.compensable is NO_DICT:
            self.compensable = {}
        self.compensable[definition.name] = definition

    def compensates(self, activity: str) -> str:
        """Which outcomes of an activity of this name are undone: `completed`, also `attempted`, or none (empty)."""
        definition = self.compensable.get(activity)
        return "" if definition is None else definition.compensate

    def apply(self, event: ev.LogEvent) -> None:
        """Take one event in. Raises HistoryCorruptError when it cannot follow what came before."""
        try:
            _RULES[type(event)](self, event)
        except KeyError as error:
            name = type(event).__name__
            raise HistoryCorruptError(f"the log holds {name} for {error}, which is not in flight") from error

    def accepts(self, event: ev.Input) -> bool:
        """Whether the run still waits for this input; a late or repeated one changes nothing and is not written.

        The end of a child is always written: that of a child of a former run would otherwise be sent for ever.
        """
        if self.terminal is not None:
            return False
        awaited = _AWAITED.get(type(event))
        if awaited is not None:
            return event.id in awaited(self)  # type: ignore[attr-defined]
        if isinstance(event, ev.WorkflowStarted):
            return self.started is None
        return not (isinstance(event, ev.CancelRequested) and self.cancel is not None)

    def wake_at(self) -> int | None:
        """The earliest time (µs) at which something is due by the clock alone; None once the run has ended."""
        if self.terminal is not None:
            return None
        due = self._due
        while due and not self._still_due(*due[0]):
            heappop(due)
        return due[0][0] if due else None

    def _still_due(self, at: int, kind: str, id: str) -> bool:
        waiting: Any = getattr(self, kind).get(id)
        if waiting is None:
            return False
        return bool((waiting.next_at if isinstance(waiting, Attempted) else waiting.due) == at)

    def expect(self, at: int, kind: str, id: str) -> None:
        """Something is due at this time, if it is still waited for by then."""
        if self._due is NO_LIST:
            self._due = []
        heappush(self._due, (at, kind, id))

    def undo_later(self, scheduled: ev.ActivityScheduled, result: Raw) -> None:
        """The effect of this activity is to be undone if the run fails."""
        if self.to_compensate is NO_LIST:
            self.to_compensate = []
        self.to_compensate.append(Compensable(scheduled, result))

    def status(self) -> Status:
        if self.terminal is not None:
            return _ENDS[type(self.terminal)]
        if self.parked is not None:
            return Status.STUCK
        if self.compensations:
            return Status.COMPENSATING
        if self.cancel is not None:
            return Status.CANCELLING
        if self.started is None:
            return Status.PENDING
        return Status.RUNNING if self.activities else Status.WAITING

    def outcome(self) -> Outcome | None:
        """How the run ended, or None while it has not (or goes on as another run)."""
        if self.terminal is None:
            return None
        match self.terminal:
            case ev.WorkflowCompleted(result=result):
                return Outcome(Status.COMPLETED, result=result)
            case ev.WorkflowFailed(error=error, uncompensated=left):
                return Outcome(Status.FAILED, error=error, uncompensated=left)
            case ev.WorkflowCancelled(reason=reason, uncompensated=left):
                return Outcome(Status.CANCELLED, reason=reason, uncompensated=left)
            case _:
                return None


_ENDS: Final[Mapping[type[ev.LogEvent], Status]] = {
    ev.WorkflowCompleted: Status.COMPLETED,
    ev.WorkflowFailed: Status.FAILED,
    ev.WorkflowCancelled: Status.CANCELLED,
    ev.WorkflowContinued: Status.RUNNING,
}


def _time(state: State, event: ev.Input) -> None:
    state.time = max(state.time, event.at)
    state.parked = None


def _owner_changed(state: State, event: ev.OwnerChanged) -> None:
    state.time = max(state.time, event.at)


def _started(state: State, event: ev.WorkflowStarted) -> None:
    _time(state, event)
    state.started = event


def _activity_scheduled(state: State, event: ev.ActivityScheduled) -> None:
    state.activities[event.id] = Attempted(event)


def _activity_attempt_failed(state: State, event: ev.ActivityAttemptFailed) -> None:
    _time(state, event)
    activity = state.activities[event.id]
    activity.failures = event.attempt
    activity.next_at = event.next_at
    activity.details = event.details
    state.expect(event.next_at, "activities", event.id)


def _activity_completed(state: State, event: ev.ActivityCompleted) -> None:
    _time(state, event)
    scheduled = state.activities.pop(event.id).scheduled
    if state.compensates(scheduled.name):
        state.undo_later(scheduled, event.result)


def _activity_ended(state: State, event: ev.ActivityFailed | ev.ActivityCancelled) -> None:
    _time(state, event)
    scheduled = state.activities.pop(event.id).scheduled
    if state.compensates(scheduled.name) == "attempted":
        state.undo_later(scheduled, ev.NULL)


def _activity_cancel_requested(state: State, event: ev.ActivityCancelRequested) -> None:
    if event.never_started:
        del state.activities[event.id]
    else:
        state.activities[event.id].cancel_requested = True


def _timer_started(state: State, event: ev.TimerStarted) -> None:
    if state.timers is NO_DICT:
        state.timers = {}
    state.timers[event.id] = event
    state.expect(event.due, "timers", event.id)


def _timer_ended(state: State, event: ev.TimerFired | ev.TimerCancelled) -> None:
    if isinstance(event, ev.Input):
        _time(state, event)
    del state.timers[event.id]


def _awaited(state: State, event: ev.EventAwaited) -> None:
    if state.waits is NO_DICT:
        state.waits = {}
    state.waits[event.id] = event
    if event.due is not None:
        state.expect(event.due, "waits", event.id)


def _wait_ended(state: State, event: ev.EventReceived | ev.EventTimedOut | ev.EventWaitCancelled) -> None:
    if isinstance(event, ev.Input):
        _time(state, event)
    del state.waits[event.id]


def _child_started(state: State, event: ev.ChildStarted) -> None:
    if state.children is NO_DICT:
        state.children = {}
    state.children[event.id] = Child(event)


def _child_cancel_requested(state: State, event: ev.ChildCancelRequested) -> None:
    state.children[event.id].cancel_requested = True


def _child_ended(state: State, event: ev.ChildCompleted | ev.ChildFailed | ev.ChildCancelled) -> None:
    _time(state, event)
    state.children.pop(event.id, None)


def _compensation_scheduled(state: State, event: ev.CompensationScheduled) -> None:
    if state.compensations is NO_DICT:
        state.compensations = {}
    state.compensations[event.id] = Attempted(event)
    done = state.to_compensate.pop()
    if done.scheduled.id != event.activity_id:
        raise HistoryCorruptError(f"the log compensates {event.activity_id} before {done.scheduled.id}")


def _compensation_attempt_failed(state: State, event: ev.CompensationAttemptFailed) -> None:
    _time(state, event)
    compensation = state.compensations[event.id]
    compensation.failures = event.attempt
    compensation.next_at = event.next_at
    state.expect(event.next_at, "compensations", event.id)


def _compensation_completed(state: State, event: ev.CompensationCompleted) -> None:
    _time(state, event)
    del state.compensations[event.id]


def _compensation_failed(state: State, event: ev.CompensationFailed) -> None:
    _time(state, event)
    del state.compensations[event.id]
    state.uncompensated += (event.id,)


def _cancel_requested(state: State, event: ev.CancelRequested) -> None:
    _time(state, event)
    state.cancel = event


def _parked(state: State, event: ev.WorkflowParked) -> None:
    state.parked = event.reason


def _abandoned(state: State, _event: ev.WorkflowAbandoned) -> None:
    state.abandoned = True
    state.timers.clear()
    state.waits.clear()


def _progress(state: State, event: ev.ProgressReported) -> None:
    state.progress = event.state


def _nothing(state: State, event: ev.Command) -> None:
    """Published messages, patches and the like leave no trace in the state."""


def _terminal(state: State, event: ev.Command) -> None:
    state.terminal = event


_RULES: Final[Mapping[type[ev.LogEvent], Callable[[State, Any], None]]] = {
    ev.WorkflowStarted: _started,
    ev.OwnerChanged: _owner_changed,
    ev.WorkflowResumed: _time,
    ev.ActivityScheduled: _activity_scheduled,
    ev.ActivityAttemptFailed: _activity_attempt_failed,
    ev.ActivityCompleted: _activity_completed,
    ev.ActivityFailed: _activity_ended,
    ev.ActivityCancelled: _activity_ended,
    ev.ActivityCancelRequested: _activity_cancel_requested,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_ended,
    ev.TimerCancelled: _timer_ended,
    ev.EventAwaited: _awaited,
    ev.EventReceived: _wait_ended,
    ev.EventTimedOut: _wait_ended,
    ev.EventWaitCancelled: _wait_ended,
    ev.ChildStarted: _child_started,
    ev.ChildCancelRequested: _child_cancel_requested,
    ev.ChildCompleted: _child_ended,
    ev.ChildFailed: _child_ended,
    ev.ChildCancelled: _child_ended,
    ev.CompensationScheduled: _compensation_scheduled,
    ev.CompensationAttemptFailed: _compensation_attempt_failed,
    ev.CompensationCompleted: _compensation_completed,
    ev.CompensationFailed: _compensation_failed,
    ev.CancelRequested: _cancel_requested,
    ev.WorkflowAbandoned: _abandoned,
    ev.WorkflowParked: _parked,
    ev.ProgressReported: _progress,
    ev.MessagePublished: _nothing,
    ev.PatchMarked: _nothing,
    ev.WorkflowCaughtUp: _nothing,
    ev.WorkflowContinued: _terminal,
    ev.WorkflowCompleted: _terminal,
    ev.WorkflowFailed: _terminal,
    ev.WorkflowCancelled: _terminal,
}

_AWAITED: Final[Mapping[type[ev.LogEvent], Callable[[State], Mapping[str, object]]]] = {
    ev.ActivityAttemptFailed: lambda state: state.activities,
    ev.ActivityCompleted: lambda state: state.activities,
    ev.ActivityFailed: lambda state: state.activities,
    ev.ActivityCancelled: lambda state: state.activities,
    ev.TimerFired: lambda state: state.timers,
    ev.EventReceived: lambda state: state.waits,
    ev.EventTimedOut: lambda state: state.waits,
    ev.CompensationAttemptFailed: lambda state: state.compensations,
    ev.CompensationCompleted: lambda state: state.compensations,
    ev.CompensationFailed: lambda state: state.compensations,
}

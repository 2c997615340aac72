"""Folds the log into a state: what is in flight, what is done, and how the run ended. `kinds.py` has what each does.

The state is the run's only bookkeeping, live and on replay, and it needs no workflow code. An instance whose code is
missing or does not fit can still be looked at, cancelled and compensated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core.fold.entries import Entries
from romancy.core.fold.kinds import AWAITED, FOLDS, STATUS_OF
from romancy.core.words import events as ev
from romancy.core.words.effects import RunEnd
from romancy.core.words.undo_events import UndoingBegan
from romancy.errors import HistoryCorruptError
from romancy.status import Status

if TYPE_CHECKING:
    from romancy.core.fold.answers import ActivityCall

__all__ = ["State", "outcome_of"]

_RUNNING: Final = Status.RUNNING
_WAITING: Final = Status.WAITING
_COMPLETED: Final = Status.COMPLETED
"""Python 3.11 calls a function for each `Status.RUNNING`."""


_awaited: Final = AWAITED.get
"""From CPython 3.12 on, a method of a name that was imported is looked up at each call."""


class State(Entries):
    """The state of one run after the events applied so far."""

    __slots__ = ()

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
            return type(event) is UndoingBegan
        awaited = _awaited(type(event))
        if awaited is not None:
            return event.id in getattr(self, awaited)  # type: ignore[attr-defined]
        if isinstance(event, ev.WorkflowStarted):
            return self.started is None
        if isinstance(event, ev.CancelRequested):
            free = self.cancel is None and self.undoing is None
            return free and (not event.limit or bool(self.limits)) and self.is_meant(event)
        return True

    def is_meant(self, request: ev.CancelRequested) -> bool:
        """Whether the request is for this run: one for whoever has a place is not, if the run has not got that."""
        return not request.place or request.place in self.held

    def status(self) -> Status:
        if self.terminal is not None:
            return STATUS_OF[type(self.terminal)]
        if self.parked is not None:
            return Status.STUCK
        if self.undoing is not None:
            return Status.COMPENSATING
        if self.compensations and not all(one.scheduled.early for one in self.compensations.values()):
            return Status.COMPENSATING
        if self.cancel is not None:
            return Status.CANCELLING
        if self.started is None:
            return Status.PENDING
        at_work = self.activities or self.remembered or self.joining or self.listing or self.compensations
        return _RUNNING if at_work else _WAITING

    @property
    def is_undone(self) -> bool:
        """Whether all is undone that was to be undone before the instance is rewound, or has failed for good."""
        undoing = self.undoing
        return undoing is not None and not self.compensations and len(self.to_compensate) <= undoing.kept

    def not_to_be_undone(self) -> list[str]:
        """What is to be undone before the instance is rewound, and what this code does not know how to undo."""
        asked = [one.scheduled for one in self.compensations.values()]
        known = [
            self.undoes(one.activity_name) if one.activity_name else self.registered(one.activity_id, one.name)
            for one in asked
        ]
        lacks = [one.activity_id for one, definition in zip(asked, known, strict=True) if definition is None]
        return lacks if self.undoing is None else [*lacks, *self.undoing.lacks]

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

"""How undos change the state of a run: those of activities, and those that the body registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.fold.in_flight import Attempted, Compensable
from romancy.core.words import events as ev
from romancy.core.words.shared_empty import NO_DICT
from romancy.errors import HistoryCorruptError

if TYPE_CHECKING:
    from romancy.core.fold.entries import Entries
    from romancy.core.words.undo_events import UndoRegistered, UndoTakenBack


def registered(state: Entries, event: UndoRegistered) -> None:
    state.put_back(Compensable(event, ev.NULL))


def taken_back(state: Entries, event: UndoTakenBack) -> None:
    state.to_compensate = [one for one in state.to_compensate if one.scheduled.id != event.id]


def compensation_scheduled(state: Entries, event: ev.CompensationScheduled) -> None:
    if state.compensations is NO_DICT:
        state.compensations = {}
    state.compensations[event.id] = Attempted(event)
    waiting = state.to_compensate
    if waiting and waiting[-1].scheduled.id == event.activity_id:
        waiting.pop()
    elif event.early and any(one.scheduled.id == event.activity_id for one in waiting):
        state.to_compensate = [one for one in waiting if one.scheduled.id != event.activity_id]
    elif state.memory is None or state.memory.by_id("activities", event.activity_id) is None:
        first = waiting[-1].scheduled.id if waiting else "anything was done"
        raise HistoryCorruptError(f"the log compensates {event.activity_id} before {first}")


def compensation_attempt_failed(state: Entries, event: ev.CompensationAttemptFailed) -> None:
    state.heard(event)
    compensation = state.compensations[event.id]
    compensation.failures = event.failures or compensation.failures + 1
    compensation.next_at = event.next_at
    state.expect(event.next_at, "compensations", event.id)


def compensation_completed(state: Entries, event: ev.CompensationCompleted) -> None:
    state.heard(event)
    done = state.compensations.pop(event.id).scheduled
    if state.memory is not None:
        state.memory.was_undone(done.activity_id)


def compensation_failed(state: Entries, event: ev.CompensationFailed) -> None:
    state.heard(event)
    state.compensations.pop(event.id).failed = event
    state.uncompensated += (event.id,)

"""How undos change the state of a run: those of activities, and those that the body registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.fold.in_flight import Attempted, Compensable, Undoing
from romancy.core.words import events as ev
from romancy.core.words.shared_empty import NO_DICT, NO_LIST
from romancy.core.words.undo_events import UndoRegistered
from romancy.errors import HistoryCorruptError

if TYPE_CHECKING:
    from romancy.core.fold.entries import Entries
    from romancy.core.words.undo_events import UndoingBegan, UndoTakenBack


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
    undo = state.compensations.pop(event.id)
    undo.failed = event
    state.uncompensated += (event.id,)
    state.not_undone = [*state.not_undone, undo.scheduled]


def undoing_began(state: Entries, event: UndoingBegan) -> None:
    """What is undone goes to the end of the order of undos. The rest of what the run waited for is given up."""
    state.heard(event)
    state.thaw(event.at)
    wanted = set(event.undo)
    for id, call in state.activities.items():
        if id in wanted and state.compensates(call.scheduled.name) == "attempted":
            state.undo_later(call.scheduled, ev.NULL)
    tried = {one.activity_id: _done_of(one) for one in state.not_undone if one.activity_id in wanted}
    found = tried | {one.scheduled.id: one for one in state.to_compensate if one.scheduled.id in wanted}
    kept = [one for one in state.to_compensate if one.scheduled.id not in wanted]
    state.to_compensate = [*kept, *(found[id] for id in reversed(event.undo) if id in found)]
    state.not_undone = [one for one in state.not_undone if one.activity_id not in wanted]
    state.undoing = Undoing(event, len(kept), tuple(id for id in event.undo if id not in found))
    state.terminal = state.cancel = None
    state.abandoned, state.uncompensated = False, ()
    state.activities, state.due = {}, NO_LIST
    state.children = state.timers = state.waits = state.subscriptions = state.joining = state.listing = NO_DICT
    state.end_limit()


def _done_of(tried: ev.CompensationScheduled) -> Compensable:
    """What a compensation was to undo that failed for good."""
    if not tried.activity_name:
        return Compensable(UndoRegistered(tried.activity_id, tried.name, tried.args), ev.NULL)
    return Compensable(
        ev.ActivityScheduled(tried.activity_id, tried.activity_name, tried.args), tried.result, key=tried.key
    )

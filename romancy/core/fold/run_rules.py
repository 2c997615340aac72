"""Applies the events of a run, its activities, timers and children to its state. One function per kind of event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.fold.answers import ActivityCall
from romancy.core.fold.finding import find_activity, find_child, find_message, find_timer, find_written
from romancy.core.fold.former_runs import as_forked
from romancy.core.fold.in_flight import Child, Compensable
from romancy.core.fold.message_rules import subscribe_again, subscribe_as_before
from romancy.core.words import events as ev
from romancy.core.words.shared_empty import NO_DICT
from romancy.errors import HistoryCorruptError

if TYPE_CHECKING:
    from romancy.core.fold.entries import Entries


def owner_changed(state: Entries, event: ev.OwnerChanged) -> None:
    state.time = max(state.time, event.at)
    if event.pause == "begins":
        state.frozen = event.at if event.freeze else None
    elif event.pause:
        state.thaw(event.at)
    if event.owner or event.interrupted:
        _lose_attempts(state, event.at, alone=event.alone, but=event.not_begun)


def _lose_attempts(state: Entries, at: int, *, alone: bool = False, but: tuple[str, ...] = ()) -> None:
    """Record that attempts may have begun whose ends are in no log. Before a trial `alone`, its owner began none."""
    for id, activity in state.activities.items():
        if id not in but:
            activity.lost = activity.next_at is None or activity.next_at <= at
            activity.unheard += activity.lost and not alone
    for undo in state.compensations.values():
        undo.unheard += (undo.next_at is None or undo.next_at <= at) and not alone


def started(state: Entries, event: ev.WorkflowStarted) -> None:
    state.heard(event)
    state.started = event
    if event.subscriptions:
        if isinstance(event, ev.WorkflowRetried):
            subscribe_again(state, event)
        else:
            subscribe_as_before(state, event)


def forked(state: Entries, event: ev.WorkflowForked) -> None:
    """The attempts of the source are not this instance's. A limit of the instance begins again."""
    state.heard(event)
    started = state.started
    if started is None:
        raise HistoryCorruptError("the log holds WorkflowForked, and not the run that was copied")
    state.thaw(event.at)
    for activity in state.activities.values():
        activity.lost = activity.idle = False
    if state.memory is not None and event.back:
        forgotten = state.memory.forget()
        state.to_compensate = [one for one in state.to_compensate if one.scheduled.id not in forgotten]
    elif state.memory is not None:
        state.memory.of_another()
    deadline = event.at + started.limit if started.limit else 0
    if state.limits:
        state.begin_limit(deadline, started.limit)
    state.started = as_forked(started, event, deadline=deadline)


def retried(state: Entries, event: ev.WorkflowRetried) -> None:
    if state.recall is None or state.recall.started is None:
        raise HistoryCorruptError("the log holds WorkflowRetried, and not the run that was retried")
    started(state, event)
    state.memory = state.recall.begin(event)
    state.requests = state.recall.requests
    state.recall = None
    for item in state.memory.items:
        if item.kind != "activities" or not item.stands:
            continue
        undone = state.compensates(item.name)
        if item.default is None:
            undoes = undone or item.owed
        else:  # it failed: it may have no compensation although a person has said that its effect stands
            undoes = undone == "attempted" or (item.owed and (undone or item.name not in state.known))
        if undoes:
            scheduled = ev.ActivityScheduled(item.id, item.name, item.asked.args, item.key)
            result = getattr(item.answer, "result", ev.NULL)
            state.put_back(Compensable(scheduled, result, item.position, item.undo_key))


def activity_scheduled(state: Entries, event: ev.ActivityScheduled) -> ActivityCall:
    call = state.activities[event.id] = ActivityCall.__new__(ActivityCall)
    call.id, call.scheduled, call.definition = event.id, event, None
    call.failures, call.unheard, call.next_at, call.details, call.told = 0, 0, None, None, ()
    call.cancel_requested = call.unknown = call.lost = call.idle = False
    if state.memory is not None:
        find_activity(state.memory, event)
    return call


def activity_attempt_failed(state: Entries, event: ev.ActivityAttemptFailed) -> ActivityCall:
    state.heard(event)
    activity = state.activities[event.id]
    activity.failures = event.failures or activity.failures + 1
    activity.next_at = event.next_at
    activity.details = event.details
    activity.unknown = activity.unknown or event.unknown
    activity.lost, activity.idle = False, activity.cancel_requested
    state.expect(event.next_at, "activities", event.id)
    return activity


def activity_completed(state: Entries, event: ev.ActivityCompleted) -> ActivityCall:
    if event.at > state.time:  # noqa: PLR1730 - a call of `max` costs as much as ten lines
        state.time = event.at
    state.parked = None
    state.latest = event.id
    if state.memory is not None:
        state.answered("activities", event.id)
    call = state.activities.pop(event.id)
    if (state.compensable or state.memory is not None) and state.compensates(call.scheduled.name):
        state.undo_later(call.scheduled, event.result)
    return call


def activity_ended(state: Entries, event: ev.ActivityFailed | ev.ActivityCancelled) -> ActivityCall:
    state.heard(event)
    activity = state.activities.pop(event.id)
    state.answered("activities", event.id)
    if state.compensates(activity.scheduled.name) == "attempted":
        state.undo_later(activity.scheduled, ev.NULL)
    elif event.unknown or activity.unknown:
        state.unknown += (event.id,)
    return activity


def activity_cancel_requested(state: Entries, event: ev.ActivityCancelRequested) -> None:
    if event.never_started:
        del state.activities[event.id]
        state.given_up("activities", event.id)
    else:
        activity = state.activities[event.id]
        activity.cancel_requested = True
        activity.idle = activity.next_at is not None and activity.next_at > state.time


def timer_started(state: Entries, event: ev.TimerStarted) -> None:
    if state.timers is NO_DICT:
        state.timers = {}
    state.timers[event.id] = event
    state.expect(event.due, "timers", event.id)
    if state.memory is not None:
        find_timer(state.memory, event)


def timer_ended(state: Entries, event: ev.TimerFired | ev.TimerCancelled) -> None:
    del state.timers[event.id]
    if isinstance(event, ev.Input):
        state.heard(event)
        state.answered("timers", event.id)
    else:
        state.given_up("timers", event.id)


def child_started(state: Entries, event: ev.ChildStarted) -> None:
    if state.children is NO_DICT:
        state.children = {}
    state.children[event.id] = Child(event)
    if state.memory is not None:
        find_child(state.memory, event)


def child_cancel_requested(state: Entries, event: ev.ChildCancelRequested) -> None:
    state.children[event.id].cancel_requested = True


def child_ended(state: Entries, event: ev.ChildCompleted | ev.ChildFailed | ev.ChildCancelled) -> None:
    state.heard(event)
    state.children.pop(event.id, None)
    state.answered("children", event.id)


def cancel_requested(state: Entries, event: ev.CancelRequested) -> None:
    state.heard(event)
    state.cancel = event
    state.end_limit()


def parked(state: Entries, event: ev.WorkflowParked) -> None:
    state.parked = event.reason
    _lose_attempts(state, state.time)  # the owner drops what it has begun


def abandoned(state: Entries, _event: ev.WorkflowAbandoned) -> None:
    state.abandoned = True
    state.timers.clear()
    state.waits.clear()
    state.subscriptions = NO_DICT


def progress(state: Entries, event: ev.ProgressReported) -> None:
    state.progress = event.state


def written(state: Entries, event: ev.StreamWritten) -> None:
    if state.memory is not None:
        find_written(state.memory, event)


def published(state: Entries, event: ev.MessagePublished) -> None:
    if state.memory is not None:
        find_message(state.memory, event)


def nothing(state: Entries, event: ev.Command) -> None:
    """Patches and similar events do not change the state."""


def terminal(state: Entries, event: ev.Command) -> None:
    state.terminal = event

"""What a retry notes of each event of the runs before it. One function per kind of event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from romancy.core.fold.finding import (
    find_activity,
    find_child,
    find_message,
    find_sent,
    find_timer,
    find_wait,
    find_written,
)
from romancy.core.fold.memory import Remembered, what_is_awaited, what_of, what_was_sent, without_number
from romancy.core.words.events import Drawn
from romancy.core.words.ids import automatic_child, idempotency_key
from romancy.core.words.messages import said_in
from romancy.core.words.shared_empty import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core.fold.former_runs import FormerRuns
    from romancy.core.fold.memory import Kind
    from romancy.core.words import events as ev
    from romancy.core.words import message_events as ms
    from romancy.core.words.undo_events import UndoingBegan, UndoRegistered

Rule: TypeAlias = "Callable[[FormerRuns, Any], object]"


def started(recall: FormerRuns, event: ev.WorkflowStarted) -> None:
    recall.start(event)


def retried(recall: FormerRuns, event: ev.WorkflowRetried) -> None:
    recall.begin(event)


def forked(recall: FormerRuns, event: ev.WorkflowForked) -> None:
    """Behind it, keys are derived anew: also those of calls that were open, unless they were given one."""
    recall.fork(event)
    for (kind, id), item in recall.open.items():
        if kind == "activities":
            item.key = item.asked.key or idempotency_key(recall.instance_id, recall.run.nonce, id)


def is_undone_first(recall: FormerRuns, _event: UndoingBegan) -> None:
    """The last of them goes on, although it may have ended: it is undone."""
    recall.ended = None


def draws_counted(recall: FormerRuns, event: ev.DrawsCounted) -> None:
    recall.drawn = (*recall.drawn, Drawn(*recall.drew, event.until))


def activity(recall: FormerRuns, event: ev.ActivityScheduled) -> None:
    former = find_activity(recall.memory, event)
    key = event.key or idempotency_key(recall.instance_id, recall.run.nonce, event.id)
    what = what_of(event.args, without_number(event.name, event.id))
    recall.activities[event.id] = recall.note("activities", event, former, name=event.name, what=what, key=key)


def child(recall: FormerRuns, event: ev.ChildStarted) -> None:
    former = find_child(recall.memory, event)
    chosen = event.instance_id
    if former is not None and event.again:
        what = former.what
    else:
        if chosen == automatic_child(recall.instance_id, recall.run.nonce, event.id):
            chosen = ""
        what = what_of(event.input, chosen, event.delay)
    recall.note("children", event, former, name=event.workflow, what=what, key=event.instance_id)


def timer(recall: FormerRuns, event: ev.TimerStarted) -> None:
    former = find_timer(recall.memory, event)
    if event.delay is not None:
        recall.note("timers", event, former, what=repr(event.delay).encode())


def wait(recall: FormerRuns, event: ms.MessageAwaited) -> None:
    former = find_wait(recall.memory, event)
    recall.note("waits", event, former, name=event.topic.name, what=what_is_awaited(event))


def message(recall: FormerRuns, event: ev.MessagePublished) -> None:
    former = find_message(recall.memory, event)
    recall.note("messages", event, former, name=event.name, what=what_of(event.data, event.key))


def written(recall: FormerRuns, event: ev.StreamWritten) -> None:
    former = find_written(recall.memory, event)
    recall.note("writes", event, former, name=event.name, what=what_of(event.data))


def sent(recall: FormerRuns, event: ms.MessageSent) -> None:
    former = find_sent(recall.memory, event)
    what = what_was_sent(event.message, event.to, chosen=event.chosen)
    recall.note("sends", event, former, name=event.message.topic.name, what=what)


def request_answered(recall: FormerRuns, event: ms.RequestAnswered) -> None:
    if recall.requests is NO_DICT:
        recall.requests = {}
    recall.requests[event.name, event.id] = None


def answers(kind: Kind) -> Rule:
    """The request of this kind has an answer, which a retry gets again."""

    def answered(recall: FormerRuns, event: Any) -> None:
        item = recall.open.pop((kind, event.id), None)
        if item is not None:  # else a limit ended, or a child of a former run
            _answer(recall, item, event)

    return answered


def received(recall: FormerRuns, event: ms.MessageReceived) -> None:
    """An answer of people stands. Where they have refused, a retry asks again."""
    is_refusal = event.message.topic.kind == "question" and said_in(event.message).how == "refusal"
    (_refused if is_refusal else _answered)(recall, event)


def _answer(recall: FormerRuns, item: Remembered, answer: ev.Input) -> None:
    item.answer = answer
    recall.count += 1
    item.position = min(item.position, recall.count)


_answered = answers("waits")


def ends(kind: Kind) -> Rule:
    """The request of this kind ended without an answer, and may have taken effect."""

    def ended(recall: FormerRuns, event: Any) -> None:
        recall.open.pop((kind, event.id), None)

    return ended


_refused = ends("waits")


def forgets(kind: Kind) -> Rule:
    """The request of this kind ended as if nobody had made it."""

    def forgotten(recall: FormerRuns, event: Any) -> None:
        _forget(recall, kind, event.id)

    return forgotten


def _forget(recall: FormerRuns, kind: Kind, id: str) -> None:
    item = recall.open.pop((kind, id), None)
    if item is not None:
        del recall.items[item]
        recall.memory.give_back(kind, id)


def failed(recall: FormerRuns, event: ev.ActivityFailed) -> None:
    item = recall.open.pop(("activities", event.id), None)
    if item is not None:
        item.answer = item.default = None  # unless the call gets its default again
    recall.failed[event.id] = event


def default_taken(recall: FormerRuns, event: ev.DefaultTaken) -> None:
    item = recall.activities[event.id]
    item.default = event.result
    _answer(recall, item, recall.failed[event.id])


def cancelled(recall: FormerRuns, event: ev.ActivityCancelRequested) -> None:
    if event.never_started:
        _forget(recall, "activities", event.id)


def undo_registered(recall: FormerRuns, event: UndoRegistered) -> None:
    done = recall.activities.get(event.of)
    if done is not None:
        recall.undos[event.id] = done


def undoing_began(recall: FormerRuns, event: ev.CompensationScheduled) -> None:
    if not event.activity_name:
        undo = recall.undos.get(event.activity_id) or Remembered(kind="activities", id=event.id, name="", what=b"")
        undo.registered = True
        recall.undoing[event.id] = undo
        return
    done = recall.activities.get(event.activity_id) or recall.memory.by_id("activities", event.activity_id)
    if done is None:
        raise KeyError(event.activity_id)
    done.undo_key = event.key or idempotency_key(recall.instance_id, recall.run.nonce, event.id)
    recall.undoing[event.id] = done


def was_undone(recall: FormerRuns, event: ev.CompensationCompleted) -> None:
    done = recall.undoing.pop(event.id)
    done.undone, done.unsure = True, False


def not_undone(recall: FormerRuns, event: ev.CompensationFailed) -> None:
    recall.undoing.pop(event.id).unsure = True


def attempt_failed(recall: FormerRuns, event: ev.ActivityAttemptFailed) -> None:
    recall.due[event.id] = event.next_at


def owner_changed(recall: FormerRuns, event: ev.OwnerChanged) -> None:
    recall.time = event.at


def over(recall: FormerRuns, event: ev.Command) -> None:
    recall.ended = event
    for (kind, id), item in recall.open.items():
        if kind == "activities" and recall.due.get(id, 0) <= recall.time:
            item.unsure = True  # the run was terminated while it was at work
    for item in recall.undoing.values():
        item.unsure = True  # the run was terminated during this compensation
    recall.undoing = {}
    for id in getattr(event, "unknown", ()):
        doubtful = recall.activities.get(id) or recall.memory.by_id("activities", id)
        if doubtful is not None:
            doubtful.unsure = True

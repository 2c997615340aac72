"""Folds former runs into the memory of the run that retries them. It needs no workflow code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from romancy.core import _events as ev
from romancy.core import _message_events as ms
from romancy.core._family import wanted_by
from romancy.core._ids import automatic_child, derive, idempotency_key
from romancy.core._memory import Memory, Remembered, what_is_awaited, what_of, what_was_sent, without_number
from romancy.core._shared_empty import NO_DICT
from romancy.core._undo_events import UndoRegistered
from romancy.errors import HistoryCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.core._memory import Kind

__all__ = ["Recall", "recalled"]


class Recall:
    """The runs so far. `begin` makes the memory of the next one."""

    __slots__ = (
        "_activities", "_count", "_items", "_next", "_open", "_time", "_undoing", "_undos", "ended", "instance_id",
        "memory", "started",
    )  # fmt: skip

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.started: ev.WorkflowStarted | None = None
        self.ended: ev.Command | None = None
        """The end of the last of them."""
        self.memory = Memory()
        self._items: dict[Remembered, None] = {}
        self._activities: dict[str, Remembered] = {}
        self._open: dict[tuple[Kind, str], Remembered] = {}
        self._undoing: dict[str, Remembered] = {}
        self._undos: dict[str, Remembered] = {}
        """The activities to which undos belong that the body has registered."""
        self._next: dict[str, int] = {}
        """When the next attempt at an activity was due, by its id."""
        self._time = 0
        self._count = 0

    def follow(self, event: ev.LogEvent) -> None:
        """Take in one event of a former run. Raises HistoryCorruptError when the event cannot follow there."""
        if self.started is None and not isinstance(event, ev.WorkflowStarted):
            return  # belongs to the run that continued as the first of these: the same commit holds its end
        rule = self._rules.get(type(event))
        if rule is not None:
            try:
                rule(self, event)
            except KeyError as error:
                name = type(event).__name__
                raise HistoryCorruptError(f"the log holds {name} for {error}, which is not in flight") from error

    def unsure(self) -> list[Remembered]:
        """The items in doubt: they did not answer, or their compensation failed for good or was cut off."""
        return [item for item in self._all() if item.unsure]

    def children(self) -> list[Remembered]:
        """The children that did not complete."""
        return [item for item in self._all() if item.kind == "children" and item.answer is None and not item.undone]

    @property
    def wanted_by(self) -> str:
        """The run of the parent on whose behalf the last of them worked."""
        return "" if self.started is None else wanted_by(self.started)

    def retried(
        self,
        *,
        at: int,
        unsure: Literal["", "done", "undone"],
        gone: tuple[str, ...],
        by: str,
        running: Mapping[str, str] = NO_DICT,
    ) -> ev.WorkflowRetried:
        """The event with which a retry of the last of them begins. A child is retried `by` its parent or a person."""
        last = self._run
        run = last.run + 1
        nonce = derive(self.instance_id, last.nonce, "retry", run).hex()[:32]
        return ev.WorkflowRetried(
            at=at,
            workflow=last.workflow,
            input=last.input,
            nonce=nonce,
            run=run,
            code=last.code,
            parent=last.parent,
            headers=last.headers,
            runtime=last.runtime,
            budget=last.budget,
            rules=last.rules,
            subscriptions=last.subscriptions,
            limit=last.limit,
            seed=last.seed if isinstance(last, ev.WorkflowRetried) else last.nonce,
            unsure=unsure,
            gone=gone,
            by=by or ("" if last.parent is None else nonce),
            running=dict(running),
        )

    def begin(self, event: ev.WorkflowRetried) -> Memory:
        """The memory with which this run begins."""
        gone = set(event.gone)
        items = [item for item in self._all() if _matters(item, gone)]
        for item in items:
            if item.unsure:
                item.unsure = False
                item.undone = event.unsure == "undone"
                item.owed = not (item.undone or item.registered) and item.answer is not None
                item.declared = not (item.undone or item.registered) and item.answer is None
        self._start(event)
        self.memory = Memory(items)
        return self.memory

    def _all(self) -> list[Remembered]:
        """The requests of the last run, and what the runs before it left."""
        return [*self._items, *self.memory.left()]

    # ── rules ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _run(self) -> ev.WorkflowStarted:
        assert self.started is not None  # noqa: S101 - a log begins with its start
        return self.started

    def _start(self, event: ev.WorkflowStarted) -> None:
        self.started, self.ended = event, None
        self.memory, self._items, self._open = Memory(), {}, {}
        self._activities, self._undoing, self._undos, self._next = {}, {}, {}, {}

    def _note(
        self, kind: Kind, event: Any, former: Remembered | None, *, name: str = "", what: bytes = b"", key: str = ""
    ) -> Remembered:
        """Remember a request. If a former run made it and it stands, this one continues that."""
        id = f"{event.id}@{self._run.run}"
        item = Remembered(kind=kind, id=id, name=name, what=what, key=key, asked=event)
        if former is not None and not former.undone:
            item.id, item.position, item.undo_key = former.id, former.position, former.undo_key
            item.answer = former.answer
        self._items[item] = None
        self._open[kind, event.id] = item
        return item

    def _activity(self, event: ev.ActivityScheduled) -> None:
        former = find_activity(self.memory, event)
        key = event.key or idempotency_key(self.instance_id, self._run.nonce, event.id)
        what = what_of(event.args, without_number(event.name, event.id))
        self._activities[event.id] = self._note("activities", event, former, name=event.name, what=what, key=key)

    def _child(self, event: ev.ChildStarted) -> None:
        former = find_child(self.memory, event)
        chosen = event.instance_id
        if former is not None and event.again:
            what = former.what
        else:
            if chosen == automatic_child(self.instance_id, self._run.nonce, event.id):
                chosen = ""
            what = what_of(event.input, chosen, event.delay)
        self._note("children", event, former, name=event.workflow, what=what, key=event.instance_id)

    def _timer(self, event: ev.TimerStarted) -> None:
        former = find_timer(self.memory, event)
        if event.delay is not None:
            self._note("timers", event, former, what=repr(event.delay).encode())

    def _wait(self, event: ms.MessageAwaited) -> None:
        former = find_wait(self.memory, event)
        self._note("waits", event, former, name=event.topic.name, what=what_is_awaited(event))

    def _message(self, event: ev.MessagePublished) -> None:
        former = find_message(self.memory, event)
        self._note("messages", event, former, name=event.name, what=what_of(event.data, event.key))

    def _sent(self, event: ms.MessageSent) -> None:
        former = find_sent(self.memory, event)
        what = what_was_sent(event.message, event.to, chosen=event.chosen)
        self._note("sends", event, former, name=event.message.topic.name, what=what)

    def _completed(self, event: Any) -> None:
        item = self._open.pop((_KINDS[type(event)], event.id), None)
        if item is None:
            return  # a limit ended, or a child of a former run
        item.answer = event
        self._count += 1
        item.position = min(item.position, self._count)

    def _ended(self, event: Any) -> None:
        self._open.pop((_KINDS[type(event)], event.id), None)

    def _void(self, event: Any) -> None:
        kind = _KINDS[type(event)]
        item = self._open.pop((kind, event.id), None)
        if item is not None:
            del self._items[item]
            self.memory.give_back(kind, event.id)

    def _cancelled(self, event: ev.ActivityCancelRequested) -> None:
        if event.never_started:
            self._void(event)

    def _undo_registered(self, event: UndoRegistered) -> None:
        done = self._activities.get(event.of)
        if done is not None:
            self._undos[event.id] = done

    def _undoing_began(self, event: ev.CompensationScheduled) -> None:
        if not event.activity_name:
            undo = self._undos.get(event.activity_id) or Remembered(kind="activities", id=event.id, name="", what=b"")
            undo.registered = True
            self._undoing[event.id] = undo
            return
        done = self._activities.get(event.activity_id) or self.memory.by_id("activities", event.activity_id)
        if done is None:
            raise KeyError(event.activity_id)
        done.undo_key = event.key or idempotency_key(self.instance_id, self._run.nonce, event.id)
        self._undoing[event.id] = done

    def _was_undone(self, event: ev.CompensationCompleted) -> None:
        done = self._undoing.pop(event.id)
        done.undone, done.unsure = True, False

    def _not_undone(self, event: ev.CompensationFailed) -> None:
        self._undoing.pop(event.id).unsure = True

    def _attempt_failed(self, event: ev.ActivityAttemptFailed) -> None:
        self._next[event.id] = event.next_at

    def _owner_changed(self, event: ev.OwnerChanged) -> None:
        self._time = event.at

    def _over(self, event: ev.Command) -> None:
        self.ended = event
        for (kind, id), item in self._open.items():
            if kind == "activities" and self._next.get(id, 0) <= self._time:
                item.unsure = True  # the run was terminated while it was at work
        for item in self._undoing.values():
            item.unsure = True  # the run was terminated during this compensation
        self._undoing = {}
        for id in getattr(event, "unknown", ()):
            doubtful = self._activities.get(id) or self.memory.by_id("activities", id)
            if doubtful is not None:
                doubtful.unsure = True

    _rules: ClassVar[Mapping[type[ev.LogEvent], Callable[[Any, Any], object]]] = {
        ev.WorkflowStarted: _start,
        ev.WorkflowRetried: begin,
        ev.OwnerChanged: _owner_changed,
        ev.ActivityScheduled: _activity,
        ev.ActivityAttemptFailed: _attempt_failed,
        ev.ActivityCompleted: _completed,
        ev.ActivityFailed: _ended,
        ev.ActivityCancelled: _ended,
        ev.ActivityCancelRequested: _cancelled,
        ev.ChildStarted: _child,
        ev.ChildCompleted: _completed,
        ev.ChildFailed: _ended,
        ev.ChildCancelled: _ended,
        ev.TimerStarted: _timer,
        ev.TimerFired: _completed,
        ev.TimerCancelled: _void,
        ms.MessageAwaited: _wait,
        ms.MessageReceived: _completed,
        ms.WaitTimedOut: _void,
        ms.WaitCancelled: _void,
        ev.MessagePublished: _message,
        ms.MessageSent: _sent,
        UndoRegistered: _undo_registered,
        ev.CompensationScheduled: _undoing_began,
        ev.CompensationCompleted: _was_undone,
        ev.CompensationFailed: _not_undone,
        ev.WorkflowCompleted: _over,
        ev.WorkflowFailed: _over,
        ev.WorkflowCancelled: _over,
    }


def _matters(item: Remembered, gone: set[str]) -> bool:
    """Whether a run can use it. Delays and waits that did not end, and children that are gone, begin again."""
    if item.answer is None:
        return item.kind in ("activities", "messages", "sends") or (item.kind == "children" and item.key not in gone)
    return True


# ── what a recorded command took of the memory ──────────────────────────────────────────────────────────────────────


def find_activity(memory: Memory, event: ev.ActivityScheduled) -> Remembered | None:
    if event.key:
        found = memory.by_key("activities", event.key)
    else:
        found = memory.look("activities", event.name, what_of(event.args, without_number(event.name, event.id)))
        if found is not None and not found.undone:
            found = None
    return memory.take(event, found)


def find_child(memory: Memory, event: ev.ChildStarted) -> Remembered | None:
    return memory.take(event, memory.by_key("children", event.instance_id) if event.again else None)


def find_timer(memory: Memory, event: ev.TimerStarted) -> Remembered | None:
    found = None if event.delay is None else memory.look("timers", "", repr(event.delay).encode())
    return memory.take(event, found)


def find_wait(memory: Memory, event: ms.MessageAwaited) -> Remembered | None:
    return memory.take(event, memory.message(event))


def find_message(memory: Memory, event: ev.MessagePublished) -> Remembered | None:
    found = memory.look("messages", event.name, what_of(event.data, event.key)) if event.again else None
    return memory.take(event, found)


def find_sent(memory: Memory, event: ms.MessageSent) -> Remembered | None:
    what = what_was_sent(event.message, event.to, chosen=event.chosen)
    return memory.take(event, memory.look("sends", event.message.topic.name, what) if event.again else None)


def recalled(instance_id: str, commits: Iterable[Sequence[ev.LogEvent]]) -> Recall:
    """The runs in these commits."""
    recall = Recall(instance_id)
    for commit in commits:
        for event in commit:
            recall.follow(event)
    return recall


_KINDS: Final[Mapping[type[ev.LogEvent], Kind]] = {
    ev.ActivityCompleted: "activities",
    ev.ActivityFailed: "activities",
    ev.ActivityCancelled: "activities",
    ev.ActivityCancelRequested: "activities",
    ev.ChildCompleted: "children",
    ev.ChildFailed: "children",
    ev.ChildCancelled: "children",
    ev.TimerFired: "timers",
    ev.TimerCancelled: "timers",
    ms.MessageReceived: "waits",
    ms.WaitTimedOut: "waits",
    ms.WaitCancelled: "waits",
}

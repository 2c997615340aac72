"""A log that is cut at a point, to rewind its instance to there: what stands of the rest, and the run that takes over.

The new run is a copy of the log up to the point, as a fork has it, within the same instance. A call that was open at
the point keeps its idempotency key: it may have taken effect, and it is the same call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.core import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityDefinition,
    ActivityFailed,
    ActivityScheduled,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    CompensationCompleted,
    CompensationScheduled,
    InputDeferred,
    LogEvent,
    OwnerChanged,
    State,
    StreamWritten,
    UndoingBegan,
    UndoRegistered,
    WorkflowForked,
    WorkflowRewound,
    WorkflowStarted,
    automatic_child,
    idempotency_key,
)
from romancy.engine.outside.copies import COPYING, Copy, copy_of, of_last_run, open_requests, several
from romancy.engine.outside.undone_first import ToUndo, to_undo
from romancy.engine.worker.orphans import is_child_of
from romancy.going_back import ForkStep
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import InstanceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from romancy.going_back import ForkChildren, ForkPlan, RewindUndo
    from romancy.storage.protocol import Store

    Commit: TypeAlias = tuple[int, list[LogEvent]]
    _EndOfActivity: TypeAlias = ActivityCompleted | ActivityFailed | ActivityCancelled | ActivityCancelRequested

__all__ = ["CutLog", "cut_log"]

_ENDS_OF_CHILDREN: Final = (ChildCompleted, ChildFailed, ChildCancelled)
_BEING_STOPPED: Final = (Status.CANCELLING, Status.COMPENSATING)


@dataclass(frozen=True, slots=True)
class CutLog:
    """The log of an instance, cut at a point of its last run."""

    row: InstanceRow
    copy: Copy
    state: State
    """At the point."""
    run: list[Commit]
    """The last run, from its very start."""
    stands: tuple[ForkStep, ...]
    """What was done behind the point and was not undone, or of which nobody knows."""
    activities: Mapping[str, ActivityDefinition]
    """Those of the app, by name: they tell what can be undone."""

    @property
    def time(self) -> int:
        """The time of the last input."""
        return max(getattr(event, "at", 0) for _, events in self.run for event in events)

    def whole(self) -> State:
        """The state of the run at its end."""
        seq = self.run[-1][0]
        copy = Copy(self.row.instance_id, self.row.life, seq, "", [events for _, events in self.run], [])
        return copy.state(self.activities)

    def undone(self) -> ToUndo:
        """What is undone first, if that is wanted."""
        return to_undo(self.state, self.whole(), has_ended=self.row.status in TERMINAL_STATUSES)

    def plan(self, refused: str | None, undo: RewindUndo) -> ForkPlan:
        """What a rewind keeps and cuts off."""
        plan = self.copy.plan(refused)
        if undo != "compensate" or refused is not None:
            return changed(plan, stands=self.stands)
        undone = self.undone()
        return changed(plan, undone=undone.steps, stands=tuple(one for one in self.stands if one.id not in undone.ids))

    # ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────

    async def refusal(self, store: Store, row: InstanceRow, children: ForkChildren, undo: RewindUndo) -> str | None:
        """Why the instance cannot be rewound to this point; None if it can."""
        return (
            self._of_now(row)
            or self.copy.refusal_of_point(self.state)
            or await self._of_children(store, children)
            or (self._of_work() if undo == "refuse" else None)
            or (self._of_unknown() if undo == "compensate" else None)
        )

    def _of_now(self, row: InstanceRow) -> str | None:
        if row.status is Status.PAUSED and row.error == COPYING:
            return "it is the copy of a fork that was cut short: fork again with this id"
        if row.status not in TERMINAL_STATUSES and self.is_undone():
            return "it is being rewound already: what it did is undone first. Wait until it goes on, or terminate it"
        if row.status in _BEING_STOPPED:
            return f"it is {row.status}: rewind it when it has ended"
        if not self.copy.rest:
            forked = [one for one in self.copy.commits[-1] if isinstance(one, WorkflowForked) and one.back]
            return "it was rewound there just now" if forked else "nothing stands behind that: choose an earlier point"
        requests = open_requests(self.copy.rest)
        if requests and row.status not in TERMINAL_STATUSES:
            return f"the request {requests[0]!r} came behind the point, and its sender waits: let it be answered first"
        return None

    async def _of_children(self, store: Store, children: ForkChildren) -> str | None:
        ended = {one.id for one in self.copy.rest if isinstance(one, _ENDS_OF_CHILDREN)}
        there = {id: one.started.instance_id for id, one in self.state.children.items() if id not in ended}
        if there and children == "keep":
            return (
                f"its children {several(list(there.values()))} were open there, and it has not heard of their ends: "
                'wait until it has, or say children="again" once they have ended, which starts new ones'
            )
        later = [one for one in self.copy.rest if isinstance(one, ChildStarted) and not one.detached]
        left = [one.instance_id for one in later if one.id not in ended]
        running = [one for one in (*there.values(), *left) if await self._is_there(store, one, running=True)]
        if running:
            return (
                f"its children {several(running)} have not ended, and the new run would not know them: cancel or "
                "terminate them first, or wait for their ends"
            )
        chosen = self._chosen({one.instance_id for one in self.copy.rest if isinstance(one, ChildStarted)})
        taken = [one for one in chosen if await self._is_there(store, one, running=False)]
        if taken:
            return (
                f"its children {several(taken)} were begun behind the point under ids that its code chooses, and the "
                "new run would ask for the same ids: purge them first, or choose a point behind them"
            )
        return None

    async def _is_there(self, store: Store, child: str, *, running: bool) -> bool:
        found = await store.read(child, limit=1)
        if found is None or not is_child_of(found, self.row.instance_id, self.row.life):
            return False
        return not running or found.instance.status not in TERMINAL_STATUSES

    def _chosen(self, children: set[str]) -> list[str]:
        """Those of these children whose ids do not derive from that of the instance."""
        if not children:
            return []
        every = list(_with_identities(self.row.instance_id, (events for _, events in self.run)))
        nonces = dict.fromkeys((identity, nonce) for _, identity, nonce in every)
        derived = {
            event.instance_id
            for event, _, _ in every
            if isinstance(event, ChildStarted)
            and any(event.instance_id == automatic_child(*nonce, event.id) for nonce in nonces)
        }
        return sorted(children - derived)

    def _of_work(self) -> str | None:
        if not self.stands:
            return None
        return (
            f"{several([one.id for one in self.stands])} did something behind the point that was not undone, and the "
            'new run would do it again: say undo="keep" if that may stand, or undo="compensate" to have it undone first'
        )

    def _of_unknown(self) -> str | None:
        called = {one.name for one in self.copy.rest if isinstance(one, (ActivityScheduled, UndoRegistered))}
        unknown = sorted(called - self.activities.keys())
        if not unknown:
            return None
        return (
            f"this app does not know the activities {several(unknown)}, which were called behind the point, and so not "
            "how to undo them: rewind it from an app that does"
        )

    def is_undone(self) -> bool:
        """Whether it is being rewound, and what it did is undone first."""
        return any(isinstance(one, UndoingBegan) for one in self.copy.rest)

    # ── what takes over ─────────────────────────────────────────────────────────────────────────────────────────

    def made(self, nonce: str, *, at: int, children: ForkChildren, undo: RewindUndo) -> list[LogEvent]:
        """The commit with which the new run begins."""
        copy, state = self.copy, self.state
        again = state.children.keys() if children == "again" else ()
        undone = {one.activity_id for one in copy.rest if isinstance(one, CompensationScheduled)}
        made: list[LogEvent] = [WorkflowRewound(at, copy.seq, copy.step, undo)]
        for event, identity, own in _with_identities(copy.source, copy.commits):
            if isinstance(event, (WorkflowStarted, WorkflowForked)):
                made.append(replace(event, identity=event.identity or copy.source))
            elif isinstance(event, ActivityScheduled) and event.id in state.activities:
                key = event.key or idempotency_key(identity, own, event.id)
                made.append(replace(event, key="" if event.id in undone else key))
            elif isinstance(event, ChildStarted) and event.id in again:
                child = automatic_child(copy.source, nonce, event.id)
                made.append(replace(event, instance_id=child, again=False))
            elif isinstance(event, StreamWritten):
                made.append(replace(event, again=True))  # whoever reads the stream has it
            else:
                made.append(event)
        now = max(at, state.time)
        made.append(WorkflowForked(now, copy.source, copy.life, copy.seq, nonce, copy.step, children, back=True))
        for one in copy.rest if children == "keep" else ():
            if isinstance(one, _ENDS_OF_CHILDREN) and one.id in state.children:
                made += [replace(one, at=now), InputDeferred()]
        return made


def cut_log(
    row: InstanceRow,
    commits: Sequence[Commit],
    *,
    before: str | None,
    at: int | None,
    activities: Mapping[str, ActivityDefinition],
) -> CutLog:
    """The log of this instance, cut before a step or behind a commit. Raises UsageError if it has no such point."""
    copy = copy_of(row.instance_id, row.life, commits, before=before, at=at)
    state = copy.state(activities)
    cut = CutLog(row, copy, state, of_last_run(commits), (), activities)
    lost = any(isinstance(one, OwnerChanged) and (one.owner or one.interrupted) for one in copy.rest)
    unheard = [id for id, one in cut.whole().activities.items() if one.unheard] if lost else ()
    return changed(cut, stands=tuple(_Work(copy, state).stands(unheard, has_ended=row.status in TERMINAL_STATUSES)))


class _Work:
    """What was done behind the point and was not undone, or of which nobody knows."""

    def __init__(self, copy: Copy, state: State) -> None:
        self._state = state
        self._names = {id: one.scheduled.name for id, one in state.activities.items()}
        self._at_work = set(state.activities)
        self._in_doubt = set[str]()
        self._done = dict[str, ForkStep]()
        self._undoing = dict[str, str]()
        self._undo_of = dict[str, str]()
        for event in copy.rest:
            self._follow(event)

    def _follow(self, event: LogEvent) -> None:
        match event:
            case ActivityScheduled():
                self._names[event.id] = event.name
                self._at_work.add(event.id)
                if event.key:  # a former run has called it, and it may have taken effect then
                    self._in_doubt.add(event.id)
            case ChildStarted():
                self._names[event.id] = event.workflow
            case ActivityCompleted() | ActivityFailed() | ActivityCancelled() | ActivityCancelRequested():
                self._ended(event)
            case ChildCompleted() if event.id in self._names:  # one that was open at the point is kept, or done again
                self._add("children", event.id, "completed")
            case UndoRegistered():
                self._undo_of[event.id] = event.of
            case CompensationScheduled():
                self._undoing[event.id] = self._undo_of.get(event.activity_id, event.activity_id)
            case CompensationCompleted():
                self._done.pop(self._undoing.get(event.id, ""), None)
            case _:
                pass

    def _ended(self, event: _EndOfActivity) -> None:
        if isinstance(event, ActivityCancelRequested):
            if event.never_started:
                self._at_work.discard(event.id)
            return
        self._at_work.discard(event.id)
        if isinstance(event, ActivityCompleted):
            self._add("activities", event.id, "completed")
        elif event.unknown:
            self._add("activities", event.id, "unknown")

    def _add(self, kind: str, id: str, outcome: str) -> None:
        self._done[id] = ForkStep(kind, id, self._names[id], outcome)

    def stands(self, unheard: Iterable[str], *, has_ended: bool) -> Iterator[ForkStep]:
        """All of it. Of attempts at `unheard` activities, no worker has told the ends.

        What an instance has at work that has ended was terminated meanwhile.
        """
        remembered = {id for _, id in self._state.remembered}
        yield from (one for one in self._done.values() if one.id not in remembered)
        kept = self._state.activities.keys()  # the same calls, under the same keys
        for id in sorted(self._at_work if has_ended else self._at_work & self._in_doubt.union(unheard) - kept):
            yield ForkStep("activities", id, self._names[id], "unknown")
        for item in () if self._state.memory is None else self._state.memory.left():
            if item.kind in ("activities", "children") and (item.stands or item.declared):
                yield ForkStep(item.kind, item.id, item.name, "completed")


def _with_identities(source: str, commits: Iterable[Iterable[LogEvent]]) -> Iterator[tuple[Any, str, str]]:
    """Each event, with the instance and the nonce from which ids and keys are derived there."""
    identity, nonce = source, ""
    for commit in commits:
        for event in commit:
            if isinstance(event, (WorkflowStarted, WorkflowForked)):
                identity, nonce = event.identity or source, event.nonce
            yield event, identity, nonce

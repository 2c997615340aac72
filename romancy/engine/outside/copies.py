"""What a fork copies of a log: the commits up to a point, as those of another instance.

The point lies between two activations. Before a step, it lies behind the input that led to the step: the copy
holds that input, on which the run has not acted, and the fork acts on it anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy.core import (
    KINDS,
    NO_DICT,
    ActivityScheduled,
    Begins,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    CompensationScheduled,
    Ends,
    Input,
    InputDeferred,
    LogEvent,
    MessageReceived,
    RequestAnswered,
    Run,
    UndoRegistered,
    WorkflowForked,
    WorkflowRetried,
    WorkflowStarted,
    automatic_child,
)
from romancy.errors import UsageError
from romancy.going_back import ForkPlan, ForkStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from msgspec import Raw

    from romancy.core import ActivityDefinition, State
    from romancy.going_back import ForkChildren

    Commit = tuple[int, list[LogEvent]]

__all__ = ["COPYING", "Copy", "copy_of", "of_last_run", "open_requests", "several"]

COPYING: Final = "it is being copied by a fork"
"""Why an instance is paused whose copy is not complete."""
_NAMED: Final = 20
"""How many steps an error lists."""
_IDENTIFYING: Final = (WorkflowStarted, WorkflowRetried, WorkflowForked)
_OPENING: Final = (ActivityScheduled, ChildStarted)
_ENDS_OF_CHILDREN: Final = (ChildCompleted, ChildFailed, ChildCancelled)


@dataclass(frozen=True, slots=True)
class Copy:
    """The part of a log that a fork gets, and the part that is left out."""

    source: str
    life: int
    seq: int
    step: str
    commits: list[list[LogEvent]]
    rest: list[LogEvent]
    steps: dict[tuple[str, str], ForkStep] = field(default_factory=dict[tuple[str, str], ForkStep])
    """Those of the copied part."""

    def plan(self, refused: str | None) -> ForkPlan:
        """What it keeps and leaves out."""
        later = dict[tuple[str, str], ForkStep]()
        for event in self.rest:
            _follow(later, event)
        steps = self.steps.values()
        return ForkPlan(
            instance_id=self.source,
            workflow=self.started.workflow,
            commit=self.seq,
            kept=tuple(one for one in steps if one.outcome != "open"),
            again=tuple(one for one in steps if one.outcome == "open"),
            cut_off=tuple(later.values()),
            refused=refused,
        )

    @property
    def started(self) -> WorkflowStarted:
        """The start of its run."""
        found = [one for commit in self.commits for one in commit if isinstance(one, WorkflowStarted)]
        return found[-1]

    def state(self, activities: Mapping[str, ActivityDefinition] = NO_DICT) -> State:
        """The state of the run at the point. None of its code is run. These `activities` tell what is to be undone."""
        run = Run(_NO_CODE, instance_id=self.source, activities=activities, known=activities)
        try:
            run.replay(self.commits)
            return run.state
        finally:
            run.close()

    def refusal(self, state: State, children: ForkChildren) -> str | None:
        """Why there can be no fork at this point; None if there can."""
        return self.refusal_of_point(state) or (self._children(state) if children == "keep" else None)

    def refusal_of_point(self, state: State) -> str | None:
        """Why no run can begin at this point; None if one can."""
        if state.terminal is not None:
            return "its run has ended there: choose an earlier point"
        if state.cancel is not None or state.compensations or state.abandoned or state.undoing is not None:
            return "it was being cancelled or undone there: choose an earlier point"
        return self._undone() or _of_people(state) or _of_places(state) or self._requests()

    def _undone(self) -> str | None:
        known = {id for (kind, id), step in self.steps.items() if kind == "activities" and step.outcome != "open"}
        known |= {one.id for commit in self.commits for one in commit if isinstance(one, UndoRegistered)}
        undone = [one.activity_id for one in self.rest if isinstance(one, CompensationScheduled)]
        found = [one for one in undone if one in known]
        if not found:
            return None
        return (
            f"what {several(found)} did before the point was undone later, and it would be taken for done: "
            f"choose a point before {found[-1]}, or retry the instance, which does it again"
        )

    def _requests(self) -> str | None:
        opened = open_requests(one for commit in self.commits for one in commit)
        if not opened:
            return None
        return (
            f"the request {opened[0]!r} was being answered there, and its sender gets one answer: choose a "
            "point before or after that"
        )

    def _children(self, state: State) -> str | None:
        ended = {one.id for one in self.rest if isinstance(one, _ENDS_OF_CHILDREN)}
        found = [one.started.instance_id for id, one in state.children.items() if id not in ended]
        if not found:
            return None
        return (
            f"its children {several(found)} were open there and have not ended, and tell only their parent: wait for "
            'their ends, or fork with children="again", which starts new ones'
        )

    def made(
        self, state: State, instance_id: str, nonce: str, *, at: int, input: Raw | None, children: ForkChildren
    ) -> list[list[LogEvent]]:
        """The commits of the fork. The last one says that they are a copy."""
        again = state.children.keys() if children == "again" else ()
        changes = {*state.activities, *again}

        def adopted(event: LogEvent) -> LogEvent:
            return self._adopted(event, instance_id, nonce, input, again) if _may_change(event, changes) else event

        made = [list(map(adopted, commit)) for commit in self.commits]
        last: list[LogEvent] = [
            WorkflowForked(max(at, state.time), self.source, self.life, self.seq, nonce, self.step, children)
        ]
        for one in self.rest if children == "keep" else ():
            if isinstance(one, _ENDS_OF_CHILDREN) and one.id in state.children:
                last += [replace(one, at=max(at, state.time)), InputDeferred()]
        return [*made, last]

    def _adopted(self, event: LogEvent, instance_id: str, nonce: str, input: Raw | None, again: Any) -> LogEvent:
        if isinstance(event, WorkflowStarted):
            given = event.input if input is None else input
            return replace(event, identity=event.identity or self.source, input=given, parent=None, by="")
        if isinstance(event, WorkflowForked):
            return replace(event, identity=event.identity or self.source)
        if isinstance(event, ActivityScheduled):
            return replace(event, key="")
        if isinstance(event, ChildStarted) and event.id in again:
            return replace(event, instance_id=automatic_child(instance_id, nonce, event.id), again=False)
        return event


def copy_of(source: str, life: int, commits: Sequence[Commit], *, before: str | None, at: int | None) -> Copy:
    """The part of this log before a step, or up to a commit. Raises UsageError if it has no such point."""
    run = of_last_run(commits)
    if before is not None:
        place, index = _place_of(source, run, before)
    else:
        place, index = _place_at(source, run, at or 0), -1
    seq, events = run[place]
    kept = [list(one) for _, one in run[:place]]
    if index < 0:
        kept.append(list(events))
        rest: list[LogEvent] = []
    else:
        cut = events[: index + 1]
        kept.append(cut if isinstance(cut[-1], WorkflowStarted) else [*cut, InputDeferred()])
        rest = list(events[index + 1 :])
    for _, more in run[place + 1 :]:
        rest += more
    copy = Copy(source, life, seq, before or "", kept, rest)
    for commit in kept:
        for event in commit:
            _follow(copy.steps, event)
    return copy


def _may_change(event: LogEvent, changes: set[str]) -> bool:
    return isinstance(event, _IDENTIFYING) or (isinstance(event, _OPENING) and event.id in changes)


def open_requests(events: Iterable[LogEvent]) -> list[str]:
    """The names of the requests that were received and not answered in these events."""
    opened = dict[tuple[str, str], None]()
    for one in events:
        if isinstance(one, MessageReceived) and one.message.topic.kind == "request":
            opened[one.message.topic.name, one.message.id] = None
        elif isinstance(one, RequestAnswered):
            opened.pop((one.name, one.id), None)
    return [name for name, _ in opened]


def of_last_run(commits: Sequence[Commit]) -> list[Commit]:
    """The commits of the last run, with those of failed runs that it retries, from its very start."""
    found: list[Commit] = []
    for seq, events in commits:
        starts = [index for index, event in enumerate(events) if type(event) is WorkflowStarted]
        if starts:
            found = [(seq, events[starts[-1] :])]
        else:
            found.append((seq, events))
    return found


def _place_of(source: str, run: list[Commit], before: str) -> tuple[int, int]:
    """The commit in which the step was asked for, and the place in it of the input that led to it."""
    known: list[str] = []
    for place in range(len(run) - 1, -1, -1):
        events = run[place][1]
        for index in range(len(events) - 1, -1, -1):
            event: Any = events[index]
            if isinstance(KINDS[type(event)].role, Begins) and not isinstance(event, CompensationScheduled):
                if event.id == before:
                    return place, max(one for one in range(index) if isinstance(events[one], Input))
                known.append(event.id)
            if isinstance(event, WorkflowRetried):
                raise _no_step(source, before, known)
    raise _no_step(source, before, known)


def _no_step(source: str, before: str, known: list[str]) -> UsageError:
    return UsageError(
        f"instance {source!r} has no step {before!r} in its last run. Its steps: {several(known[::-1]) or 'none'}"
    )


def _place_at(source: str, run: list[Commit], at: int) -> int:
    for place, (seq, _) in enumerate(run):
        if seq == at:
            return place
    raise UsageError(
        f"instance {source!r} has no commit {at} in its last run: that has the commits {run[0][0]} to {run[-1][0]}"
    )


def _follow(steps: dict[tuple[str, str], ForkStep], event: Any) -> None:
    """Take one event into account."""
    role = KINDS[type(event)].role
    if isinstance(event, WorkflowStarted):
        steps.clear()  # what a retry remembers of it, its own log repeats
    elif isinstance(role, Begins):
        name = getattr(event, "name", None) or getattr(event, "workflow", None)
        topic = getattr(event, "topic", None)
        told = name or (topic.name if topic is not None else getattr(event, "limit", "")) or event.id
        steps[role.part, event.id] = ForkStep(role.part, event.id, told, "open")
    elif isinstance(role, Ends):
        found = steps.get((role.part, event.id))
        if found is not None:
            steps[role.part, event.id] = ForkStep(found.kind, found.id, found.name, role.outcome)


def _of_people(state: State) -> str | None:
    asked = [one.topic.name for one in state.waits.values() if one.asks is not None]
    if not asked:
        return None
    return f"the question {asked[0]!r} was open there, whose answer is for this instance alone: choose another point"


def _of_places(state: State) -> str | None:
    for one in state.places.values():
        return f"it waited for a place under the limit {one.limit!r} there: choose another point"
    for one in state.held.values():
        if not one.whole:
            return f"it had a place under the limit {one.limit!r} for a part of its body there: choose another point"
    return None


def several(names: Sequence[str]) -> str:
    """These names, or the first of them."""
    told = ", ".join(names[:_NAMED])
    return f"{told} and {len(names) - _NAMED} more" if len(names) > _NAMED else told


class _NoCode:
    """Stands for the workflow of a run that is only folded."""

    name = "(no code)"

    def body(self, *_: object) -> Any:
        raise NotImplementedError

    def write_result(self, *_: object) -> Any:
        raise NotImplementedError


_NO_CODE: Final[Any] = _NoCode()

"""Beginning a failed run anew from where it failed: pure, from one log to the first commit of the next run.

The next run's history is the former one's up to the failure, so nothing that was completed runs again. It is cut
before the first of these: an activity that failed for good (it is tried again, with all its attempts), or one whose
effect was undone since (it has to be done again). What else was under way then and has completed since is kept as
well. If there is no such place, the workflow's own code raised: everything is kept, and what came last is acted
upon once more, by the code as it is now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    ChildCancelled,
    ChildFailed,
    Command,
    CompensationScheduled,
    Input,
    WorkflowFailed,
    WorkflowParked,
    WorkflowStarted,
)
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import LogEvent

__all__ = ["run_without_failure"]

_Segments: TypeAlias = list[tuple[Input, list[Command]]]
_LATER: Final = WorkflowParked("retried after a failure")
_FAILURES: Final = (ActivityFailed, ActivityCancelled, ChildFailed, ChildCancelled)


def run_without_failure(instance_id: str, commits: Iterable[Sequence[LogEvent]]) -> list[LogEvent]:
    """The first commit of a run that goes on from before the failure. UsageError if this run did not fail."""
    segments = _segments([event for commit in commits for event in commit])
    if not any(isinstance(event, WorkflowFailed) for _, commands in segments for event in commands):
        raise UsageError(f"instance {instance_id!r} has not failed; only a failed one can be retried")
    undone = {
        command.activity_id
        for _, commands in segments
        for command in commands
        if isinstance(command, CompensationScheduled)
    }
    cut = next((index for index, (event, _) in enumerate(segments) if _spoils(event, undone)), None)
    if cut is not None:
        kept = _without_attempts(segments[:cut], getattr(segments[cut][0], "id", ""))
        return [*_flat(kept), *_completed_since(kept, segments[cut:], undone)]
    last = next(i for i, (_, commands) in enumerate(segments) if any(isinstance(c, WorkflowFailed) for c in commands))
    event, _ = segments[last]
    return [*_flat(segments[:last]), event, _LATER]


def _completed_since(kept: _Segments, rest: _Segments, undone: set[str]) -> list[LogEvent]:
    """Results that came after the cut for activities called before it, to be acted upon when the run is resumed."""
    called = {command.id for _, commands in kept for command in commands if isinstance(command, ActivityScheduled)}
    done = [event for event, _ in rest if isinstance(event, ActivityCompleted)]
    return [entry for event in done if event.id in called - undone for entry in (event, _LATER)]


def _spoils(event: Input, undone: set[str]) -> bool:
    return isinstance(event, _FAILURES) or (isinstance(event, ActivityCompleted) and event.id in undone)


def _segments(events: Sequence[LogEvent]) -> _Segments:
    begins = max(index for index, event in enumerate(events) if isinstance(event, WorkflowStarted))
    segments: _Segments = []
    for event in events[begins:]:
        if isinstance(event, Input):
            segments.append((event, []))
        elif isinstance(event, Command):
            segments[-1][1].append(event)
    return segments


def _without_attempts(segments: _Segments, activity_id: str) -> _Segments:
    """The activity that is tried again begins with its first attempt."""
    return [
        (event, commands)
        for event, commands in segments
        if not (isinstance(event, ActivityAttemptFailed) and event.id == activity_id)
    ]


def _flat(segments: _Segments) -> list[LogEvent]:
    return [entry for event, commands in segments for entry in (event, *commands)]

"""Splits recorded commits into inputs with the commands that each led to, and finds where a run begins in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from romancy.core.run.divergence import describe
from romancy.core.words import events as ev
from romancy.errors import HistoryCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Segment", "before_retry", "begin_of_retry", "from_last_start", "segments_of"]

Segment: TypeAlias = tuple[ev.Input, list[ev.Command]]


def segments_of(commit: Iterable[ev.LogEvent]) -> list[Segment]:
    """Each input of a commit with the commands it led to."""
    segments: list[Segment] = []
    for event in commit:
        if isinstance(event, ev.Input):
            segments.append((event, []))
        elif segments and isinstance(event, ev.Command):
            segments[-1][1].append(event)
        else:
            raise HistoryCorruptError(f"a commit begins with {describe(event)}, which is not an input")
    return segments


def begin_of_retry(commits: Sequence[Sequence[ev.LogEvent]]) -> int | None:
    """The index of the last commit in which a retry begins, if there is one."""
    for index in range(len(commits) - 1, -1, -1):
        if any(isinstance(event, ev.WorkflowRetried) for event in commits[index]):
            return index
    return None


def before_retry(commit: Sequence[ev.LogEvent]) -> tuple[Sequence[ev.LogEvent], Sequence[ev.LogEvent]]:
    """What stands before the last retry that begins in the commit, and the rest. A rewind copies both into one."""
    index = max(at for at, event in enumerate(commit) if isinstance(event, ev.WorkflowRetried))
    return commit[:index], commit[index:]


def from_last_start(segments: list[Segment]) -> list[Segment]:
    starts = [index for index, (event, _) in enumerate(segments) if isinstance(event, ev.WorkflowStarted)]
    if not starts:
        raise HistoryCorruptError("the history of a run does not begin with its start")
    return segments[starts[-1] :]

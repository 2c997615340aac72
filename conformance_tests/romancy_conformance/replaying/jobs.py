"""What the two processes send each other, and what both do with it: one history, replayed by its code."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from romancy.core import TERMINAL, decode_commit, replay
from romancy.errors import HistoryCorruptError, NonDeterminismError
from romancy.registry import Registry
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core import LogEvent
    from romancy.workflow import Workflow

__all__ = ["Answer", "Job", "again", "source_of"]


class Job(Struct):
    """One history, how it ended, and where its workflow is declared."""

    module: str
    qualname: str
    workflow: str
    source: str
    """The source of the workflow's function, by which it is recognised."""
    instance_id: str
    status: Status
    """The status in the instance's row."""
    commits: list[str]


class Answer(Struct):
    """The result: `problem` is None where the replay agrees; `unknown` says why there was no replay."""

    problem: str | None = None
    unknown: str | None = None


def source_of(definition: Workflow[..., Any]) -> str:
    """Return the source of a workflow's function. Its version depends on more: also on all names that it uses."""
    return _source(definition.fn)


@lru_cache(maxsize=500)
def _source(function: Callable[..., Any]) -> str:
    """Read the source once for all histories of a workflow: to find its end takes longer than most replays."""
    try:
        return inspect.getsource(function)
    except OSError:
        return ""


@lru_cache(maxsize=500)
def _activities_of(definition: Workflow[..., Any]) -> Mapping[str, Any]:
    """Return the activities that the workflow knows, found once for all its histories."""
    return Registry.collect([definition]).activities_of(definition.name)


def again(definition: Workflow[..., Any], job: Job) -> Answer:
    """Replay the history with this code."""
    commits = [decode_commit(body.encode()) for body in job.commits]
    try:
        done = replay(definition, commits, instance_id=job.instance_id, known=_activities_of(definition))
    except NonDeterminismError as error:
        # An instance that was parked because the code did not fit need not fit now.
        return Answer() if job.status is Status.STUCK else Answer(str(error))
    except HistoryCorruptError as error:
        return Answer(f"its log makes no sense: {error}")
    if job.status not in TERMINAL_STATUSES or _by_force(commits):
        return Answer()
    if done.status is not job.status:
        return Answer(f"it ended as {job.status}, and its replay as {done.status}")
    recorded, outcome = _end(commits), done.outcome
    mine = None if outcome is None or outcome.result is None else bytes(outcome.result)
    if recorded is not None and mine is not None and bytes(recorded.result) != mine:
        return Answer("its result is another when it is replayed")
    return Answer()


def _end(commits: list[list[LogEvent]]) -> Any:
    """Return the event that ended it, if it has ended."""
    ends = [event for commit in commits for event in commit if isinstance(event, TERMINAL)]
    return ends[-1] if ends and hasattr(ends[-1], "result") else None


def _by_force(commits: list[list[LogEvent]]) -> bool:
    """Whether an operator ended it, which is independent of the code."""
    return [type(event).__name__ for event in commits[-1]][-2:] == ["OwnerChanged", "WorkflowCancelled"]

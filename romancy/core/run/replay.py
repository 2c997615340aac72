"""Replay as a pure function: from a history and a workflow to the state of the instance.

The deploy check (does the new code fit every open history?), the fixtures of tests and the view of an instance at any
moment of its past all use this function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw, Struct

from romancy.core.run.run import Run
from romancy.core.words import events as ev
from romancy.core.words.effects import Effect, RunEnd
from romancy.errors import HistoryCorruptError
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.core.run.workflow_definition import WorkflowDefinition
    from romancy.core.words.definitions import ActivityDefinition

__all__ = ["Replayed", "current_run", "replay"]


class Replayed(Struct, frozen=True):
    """The state of an instance after its history: how it ended, or what it still waits for."""

    status: Status
    run: int
    time: int
    outcome: RunEnd | None
    outstanding: tuple[Effect, ...]
    progress: Raw | None


def replay(
    workflow: WorkflowDefinition,
    commits: Iterable[Sequence[ev.LogEvent]],
    *,
    instance_id: str,
    code: str = "",
    runtime: str = "",
    known: Mapping[str, ActivityDefinition] | None = None,
    stored: Callable[[bytes], int] = len,
) -> Replayed:
    """Replay the latest run of a history with this code. Nothing is written and nothing is started.

    `known` are the activities, by name, that undo what former runs did, and `stored` the sizes of values, as for `Run`.

    Raises NonDeterminismError with a readable report when the code does not do what the log says, and
    HistoryCorruptError when the log itself makes no sense.
    """
    run = Run(workflow, instance_id=instance_id, code=code, runtime=runtime, known=known, stored=stored)
    try:
        run.replay(current_run(commits))
        started = run.state.started
        if started is None:
            raise HistoryCorruptError(f"instance {instance_id}: the history holds no start")
        return Replayed(
            status=run.status(),
            run=started.run,
            time=run.last_time,
            outcome=run.outcome(),
            outstanding=tuple(run.outstanding()),
            progress=run.state.progress,
        )
    finally:
        run.close()


def current_run(commits: Iterable[Sequence[ev.LogEvent]]) -> list[Sequence[ev.LogEvent]]:
    """The commits from the one in which the latest run began, including those of failed runs that it retries."""
    latest: list[Sequence[ev.LogEvent]] = []
    for commit in commits:
        if any(type(event) is ev.WorkflowStarted for event in commit):
            latest.clear()
        latest.append(commit)
    return latest

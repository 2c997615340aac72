"""Folds former runs into the memory of the run that retries them. It needs no workflow code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core.fold.former_runs import FormerRuns
from romancy.core.fold.kinds import RECALLS
from romancy.core.words import events as ev
from romancy.errors import HistoryCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Recall", "recalled"]


class Recall(FormerRuns):
    """The runs so far, from their events. `begin` makes the memory of the next one."""

    __slots__ = ()

    def follow(self, event: ev.LogEvent) -> None:
        """Take in one event of a former run. Raises HistoryCorruptError when the event cannot follow there."""
        if self.started is None and not isinstance(event, ev.WorkflowStarted):
            return  # belongs to the run that continued as the first of these: the same commit holds its end
        rule = RECALLS[type(event)]
        if rule is not None:
            try:
                rule(self, event)
            except KeyError as error:
                name = type(event).__name__
                raise HistoryCorruptError(f"the log holds {name} for {error}, which is not in flight") from error


def recalled(instance_id: str, commits: Iterable[Sequence[ev.LogEvent]]) -> Recall:
    """The runs in these commits."""
    recall = Recall(instance_id)
    for commit in commits:
        for event in commit:
            recall.follow(event)
    return recall

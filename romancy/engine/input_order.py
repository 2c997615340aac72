"""The order in which the waiting inputs of an instance are fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import CancelRequested, WorkflowResumed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core import Input
    from romancy.engine.inbox import Given

__all__ = ["in_order"]


def in_order(inputs: Sequence[Given], *, acts_late: bool, mail_first: bool = False) -> list[Given]:
    """The inputs in the order of their times, with messages in the order in which they came.

    The clock of a database may go back. A run that acts late first gets what has it act (`Run.acts_late`). A workflow
    that wants its `mail_first` gets all that has come before what is due.
    """
    latest, places = 0, list[tuple[int, int]]()
    for place, (event, mail) in enumerate(inputs):
        at = event.at
        if mail is not None:
            latest = at = max(at, latest)
        places.append((at, place))
    places.sort()
    if mail_first:
        places.sort(key=lambda one: inputs[one[1]][1] is None)
    if acts_late:
        places.sort(key=lambda one: _rank(inputs[one[1]][0]))
    return [inputs[place] for _, place in places]


def _rank(event: Input) -> int:
    """For a run that acts late: first a request to cancel, then what resumes it, then all else."""
    if type(event) is CancelRequested and not event.limit:
        return 0
    return 1 if type(event) is WorkflowResumed else 2

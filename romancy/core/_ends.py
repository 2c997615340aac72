"""How a run ended, read from the event that ended it."""

from __future__ import annotations

from romancy.core import _events as ev
from romancy.core._effects import RunEnd
from romancy.status import Status

__all__ = ["outcome_of"]


def outcome_of(terminal: ev.Command) -> RunEnd | None:
    """How the run ended; None if it continues as another run."""
    match terminal:
        case ev.WorkflowCompleted(result=result, unclaimed=more):
            return RunEnd(Status.COMPLETED, result=result, unclaimed=more)
        case ev.WorkflowFailed(error=error, uncompensated=left, unclaimed=more, unknown=unknown):
            return RunEnd(Status.FAILED, error=error, uncompensated=left, unclaimed=more, unknown=unknown)
        case ev.WorkflowCancelled(reason=reason, uncompensated=left, unclaimed=more, unknown=unknown):
            return RunEnd(Status.CANCELLED, reason=reason, uncompensated=left, unclaimed=more, unknown=unknown)
        case _:
            return None

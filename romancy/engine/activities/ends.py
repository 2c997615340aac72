"""The inputs that report how attempts ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CompensationAttemptFailed,
    CompensationCompleted,
    CompensationFailed,
    StartActivity,
    StartCompensation,
)
from romancy.engine.activities.attempt import id_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from romancy.core import Effect
    from romancy.engine.inbox import Given

__all__ = ["ENDS", "unanswered"]

_ENDS: Final = {
    StartActivity: (ActivityCompleted, ActivityFailed, ActivityCancelled, ActivityAttemptFailed),
    StartCompensation: (CompensationCompleted, CompensationFailed, CompensationAttemptFailed),
}

ENDS: Final = tuple(end for ends in _ENDS.values() for end in ends)
"""The inputs that report how an attempt ended."""


def unanswered(effects: list[Effect], inputs: Collection[Given]) -> list[Effect]:
    """The effects, without attempts whose ends are among the inputs: the engine does not repeat finished work."""
    if not inputs:
        return effects
    answered = {(kind, event.id) for event, _ in inputs for kind, ends in _ENDS.items() if isinstance(event, ends)}
    return [
        effect
        for effect in effects
        if not (isinstance(effect, StartActivity | StartCompensation) and (type(effect), id_of(effect)) in answered)
    ]

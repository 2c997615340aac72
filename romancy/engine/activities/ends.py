"""The inputs that report how attempts ended, and the effects that inputs answer."""

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
    MessageAwaited,
    MessageReceived,
    StartActivity,
    StartCompensation,
)
from romancy.engine.activities.attempt import id_of

if TYPE_CHECKING:
    from collections.abc import Collection, Container

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
    """The effects, without those whose ends are among the inputs.

    The engine does not repeat an attempt that has ended, and finds no other message for a wait that has one.
    """
    if not inputs:
        return effects
    answered = {(kind, event.id) for event, _ in inputs for kind, ends in _ENDS.items() if isinstance(event, ends)}
    received = {event.id for event, _ in inputs if isinstance(event, MessageReceived)}
    return [effect for effect in effects if not _is_answered(effect, answered, received)]


def _is_answered(effect: Effect, answered: Container[tuple[type, str]], received: Container[str]) -> bool:
    match effect:
        case StartActivity() | StartCompensation():
            return (type(effect), id_of(effect)) in answered
        case MessageAwaited():
            return effect.id in received
        case _:
            return False

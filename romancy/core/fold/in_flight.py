"""The entries of a run's state: what is in flight, and what it may have to undo."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct

from romancy.core.words import events as ev
from romancy.core.words.undo_events import UndoingBegan, UndoRegistered

__all__ = ["LATEST", "Attempted", "Child", "Compensable", "Undoing"]

LATEST: Final = 1 << 62


class Attempted(Struct, gc=False):
    """An activity or a compensation in flight: how many attempts have failed, and when the next is due."""

    scheduled: Any
    failures: int = 0
    unheard: int = 0
    """How many more attempts may have begun: at owners that have not recorded how they ended."""
    next_at: int | None = None
    cancel_requested: bool = False
    details: Raw | None = None
    unknown: bool = False
    """Whether an attempt was given up without an answer, so that nobody knows what it did."""
    lost: bool = False
    """Whether an attempt may have begun at a former owner, which has not recorded how it ended."""
    idle: bool = False
    """Whether it was asked to stop while no attempt ran: it waited for its next attempt."""
    failed: ev.CompensationFailed | None = None
    """The failure with which it has ended."""


class Child(Struct, gc=False):
    """A child workflow that has not ended."""

    started: ev.ChildStarted
    cancel_requested: bool = False


class Compensable(Struct, frozen=True, gc=False):
    """An activity whose effect is to be undone if the run fails, or an undo that the body has registered."""

    scheduled: ev.ActivityScheduled | UndoRegistered
    result: Raw
    position: int = LATEST
    """The time of completion, if that was in a former run."""
    key: str = ""
    """The key under which a former run tried to undo it."""


class Undoing(Struct, frozen=True, gc=False):
    """That the run is undone up to a point, to which its instance is then rewound."""

    began: UndoingBegan
    kept: int
    """How many entries of the order of undos stay: they were done before the point."""
    lacks: tuple[str, ...]
    """What is to be undone, and what this code does not know how to undo."""

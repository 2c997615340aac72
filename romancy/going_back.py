"""What going back to an earlier point of an instance keeps and cuts off, as it is shown before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["ForkChildren", "ForkPlan", "ForkStep", "RewindUndo"]

ForkChildren: TypeAlias = Literal["keep", "again"]
RewindUndo: TypeAlias = Literal["refuse", "keep", "compensate"]


@dataclass(frozen=True, slots=True)
class ForkStep:
    """A request of a body: an activity, a delay, a wait, a child."""

    kind: str
    """The kind: `activities`, `timers`, `waits`, `children` and so on."""
    id: str
    name: str
    outcome: str
    """How it ended: `completed`, `failed`, `cancelled`, `fired`, `received` or the like; `open` if it has not ended."""


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """What a fork or a rewind of an instance would keep, and what it would cut off. Nothing is written for it."""

    instance_id: str
    workflow: str
    commit: int
    """The number of the last commit that is kept, wholly or in part."""
    kept: tuple[ForkStep, ...]
    """Ended before the point: the new run has their outcomes, and does not do them again."""
    again: tuple[ForkStep, ...]
    """Open at the point: the new run goes on with them. Its activities run again; those of a fork under new keys."""
    cut_off: tuple[ForkStep, ...]
    """Begun behind the point: the new run knows nothing of them."""
    refused: str | None = None
    """Why there can be none at this point. None: there can be."""
    stands: tuple[ForkStep, ...] = ()
    """Of a rewind: what was done behind the point and was not undone. With `undo="refuse"` there is no such thing.
    With `undo="compensate"` it is what has no compensation.
    """
    undone: tuple[ForkStep, ...] = ()
    """Of a rewind with `undo="compensate"`: what is undone before the instance goes on, in this order."""

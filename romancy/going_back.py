"""What going back to an earlier point of an instance keeps and cuts off, as it is shown before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["ForkChildren", "ForkPlan", "ForkStep"]

ForkChildren: TypeAlias = Literal["keep", "again"]


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
    """What a fork would copy of an instance, and what it would leave out. Nothing is written for it."""

    instance_id: str
    workflow: str
    commit: int
    """The number of the last commit that is copied, wholly or in part."""
    kept: tuple[ForkStep, ...]
    """Ended before the point: the fork has their outcomes, and does not do them again."""
    again: tuple[ForkStep, ...]
    """Open at the point: the fork goes on with them. Its activities run again, under new keys."""
    cut_off: tuple[ForkStep, ...]
    """Begun behind the point: the fork knows nothing of them. What they did in the instance stands."""
    refused: str | None = None
    """Why this instance cannot be forked at this point. None: it can be."""

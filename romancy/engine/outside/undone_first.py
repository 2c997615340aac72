"""What a rewind undoes before its instance goes on: what the run did behind the point, the last one first.

That is what a failing run would undo, with the same keys, and what the run has tried in vain to undo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from romancy.core import UndoRegistered
from romancy.going_back import ForkStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.core import CompensationScheduled, State

__all__ = ["ToUndo", "not_undone", "to_undo"]


@dataclass(frozen=True, slots=True)
class ToUndo:
    """What is undone of a run."""

    steps: tuple[ForkStep, ...]
    """In the order in which it is undone, those that are under way first."""
    anew: tuple[str, ...]
    """Of these, the ids of those whose compensations are not under way."""
    ids: frozenset[str]
    """The ids of the activities whose effects are undone."""


def to_undo(point: State, end: State, *, has_ended: bool) -> ToUndo:
    """What is undone of a run between a point and its end. `has_ended`: the instance, so that nothing is at work."""
    kept = _kept(point)
    under_way = [one.scheduled for one in end.compensations.values()]
    steps = [*map(_tried, under_way)]
    anew = [*map(_tried, not_undone(point, end)), *_in_doubt(point, end, has_ended=has_ended)]
    of = {one.activity_id for one in under_way}
    for done in reversed(end.to_compensate):
        scheduled = done.scheduled
        if scheduled.id in kept:
            continue
        if isinstance(scheduled, UndoRegistered):
            of.add(scheduled.of)
            anew.append(ForkStep("undos", scheduled.id, scheduled.name, "registered"))
        else:
            anew.append(ForkStep("activities", scheduled.id, scheduled.name, "completed"))
    ids = tuple(one.id for one in anew)
    return ToUndo((*steps, *anew), ids, frozenset((*of, *ids)))


def not_undone(point: State, end: State) -> list[CompensationScheduled]:
    """The compensations behind the point that have failed for good."""
    before = {one.activity_id for one in point.not_undone}
    return [one for one in end.not_undone if one.activity_id not in before]


def _kept(state: State) -> set[str]:
    """What the order of undos holds of the time before the point. What a retry had not asked for is forgotten."""
    left = set[str]() if state.memory is None else {one.id for one in state.memory.left()}
    done = {one.scheduled.id for one in state.to_compensate} - left
    return done | {id for _, id in state.remembered}


def _tried(undo: CompensationScheduled) -> ForkStep:
    kind = "activities" if undo.activity_name else "undos"
    return ForkStep(kind, undo.activity_id, undo.activity_name or undo.name, "not undone")


def _in_doubt(point: State, end: State, *, has_ended: bool) -> Iterator[ForkStep]:
    """The calls that have not ended and may have taken effect, if that is undone too, the last one first."""
    for id, call in reversed(end.activities.items()):
        began = has_ended or call.scheduled.key or call.failures or call.unheard or call.lost or call.unknown
        if began and id not in point.activities and end.compensates(call.scheduled.name) == "attempted":
            yield ForkStep("activities", id, call.scheduled.name, "unknown")

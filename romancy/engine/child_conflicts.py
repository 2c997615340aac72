"""Children that cannot start because their id is taken. The same append tells the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core import ChildFailed, StartChild
from romancy.errors import InstanceConflictError, UsageError
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from romancy.core import Activation
    from romancy.engine.inbox import Given
    from romancy.engine.instance import Live

__all__ = ["with_refusals"]

_MOST_REFUSALS: Final = 100
"""Limit on rejected children per commit; otherwise a retry loop never commits."""
_TAKEN: Final = "exists already"
"""Of an id that the parent has, or another child of the same commit."""


def with_refusals(
    live: Live,
    activation: Activation,
    inputs: list[Given],
    now: int,
    activate: Callable[[Live, list[Given]], Activation],
) -> Activation:
    """Extend the activation by the refusals of children whose ids are taken, so that one commit holds both.

    What was found of an id is kept: if the log refuses this commit because of one more id, the next one needs both.
    """
    rounds = 0
    while children := _refused(activation, live.instance_id, live.taken):
        rounds += 1
        if rounds > _MOST_REFUSALS:
            raise UsageError(
                f"the workflow keeps starting a child with the taken id {children[0].instance_id!r}; "
                "catch InstanceConflictError or choose another id"
            )
        reasons = [live.taken.get(child.instance_id, _TAKEN) for child in children]
        more: list[Given] = [(event, None) for event in _refusals(children, reasons, max(now, live.run.last_time))]
        activation = _joined(_without(activation, children), activate(live, more))
        inputs += more
    return activation


def _refused(activation: Activation, parent: str, taken: Collection[str]) -> list[StartChild]:
    """The children whose id is taken: by a known instance, by the parent, or by another child of the same commit."""
    found: list[StartChild] = []
    begun = {parent}
    for effect in activation.effects:
        if isinstance(effect, StartChild) and not effect.again:
            if effect.instance_id in taken or effect.instance_id in begun:
                found.append(effect)
            begun.add(effect.instance_id)
    return found


def _refusals(children: Sequence[StartChild], reasons: Sequence[str], now: int) -> list[ChildFailed]:
    """The inputs that report these children to the run."""
    return [
        ChildFailed(at=now, id=child.child_id, error=describe_exception(_conflict(child, why)))
        for child, why in zip(children, reasons, strict=True)
    ]


def _conflict(child: StartChild, why: str) -> InstanceConflictError:
    return InstanceConflictError(
        f"the child {child.child_id} cannot be started: an instance {child.instance_id!r} {why}"
    )


def _without(activation: Activation, children: Sequence[StartChild]) -> Activation:
    """The activation without the starts of these children."""
    ids = {child.child_id for child in children}
    activation.effects[:] = [
        effect for effect in activation.effects if not (isinstance(effect, StartChild) and effect.child_id in ids)
    ]
    return activation


def _joined(first: Activation, second: Activation) -> Activation:
    """Join two consecutive activations into one commit."""
    return replace(
        second,
        events=[*first.events, *second.events],
        effects=[*first.effects, *second.effects],
        dropped=(*first.dropped, *second.dropped),
        warnings=(*first.warnings, *second.warnings),
    )

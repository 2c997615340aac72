"""Children that cannot start because their id is taken. The same append tells the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import Activation, ChildFailed, StartChild
from romancy.errors import InstanceConflictError
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["joined", "refusals", "refused", "without"]


def refused(activation: Activation, parent: str, taken: Collection[str]) -> list[StartChild]:
    """The children whose id is taken: by a known instance, by the parent, or by another child of the same commit."""
    found: list[StartChild] = []
    begun = {parent}
    for effect in activation.effects:
        if isinstance(effect, StartChild) and not effect.again:
            if effect.instance_id in taken or effect.instance_id in begun:
                found.append(effect)
            begun.add(effect.instance_id)
    return found


def refusals(children: Sequence[StartChild], now: int) -> list[ChildFailed]:
    """The inputs that report these children to the run."""
    return [ChildFailed(at=now, id=child.child_id, error=describe_exception(_conflict(child))) for child in children]


def _conflict(child: StartChild) -> InstanceConflictError:
    return InstanceConflictError(
        f"the child {child.child_id} cannot be started: an instance {child.instance_id!r} exists already"
    )


def without(activation: Activation, children: Sequence[StartChild]) -> Activation:
    """The activation without the starts of these children."""
    ids = {child.child_id for child in children}
    activation.effects[:] = [
        effect for effect in activation.effects if not (isinstance(effect, StartChild) and effect.child_id in ids)
    ]
    return activation


def joined(first: Activation, second: Activation) -> Activation:
    """Join two consecutive activations into one commit."""
    return Activation(
        events=[*first.events, *second.events],
        effects=[*first.effects, *second.effects],
        status=second.status,
        wake_at=second.wake_at,
        outcome=second.outcome,
        parked=second.parked,
        successor=second.successor,
        dropped=(*first.dropped, *second.dropped),
        warnings=(*first.warnings, *second.warnings),
    )

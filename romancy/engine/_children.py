"""Children that cannot be started because their id is taken: the parent hears of it in the very same append."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import Activation, ChildFailed, StartChild
from romancy.errors import InstanceConflictError
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["joined", "refusals", "without"]


def refusals(activation: Activation, taken: Collection[str], now: int) -> list[ChildFailed]:
    """The inputs that tell the run of its children whose ids are taken."""
    return [
        ChildFailed(at=now, id=effect.child_id, error=describe_exception(_conflict(effect)))
        for effect in activation.effects
        if isinstance(effect, StartChild) and effect.instance_id in taken
    ]


def _conflict(child: StartChild) -> InstanceConflictError:
    return InstanceConflictError(
        f"the child {child.child_id} cannot be started: an instance {child.instance_id!r} exists already"
    )


def without(activation: Activation, taken: Collection[str]) -> Activation:
    """The activation that starts none of these."""
    activation.effects[:] = [
        effect for effect in activation.effects if not (isinstance(effect, StartChild) and effect.instance_id in taken)
    ]
    return activation


def joined(first: Activation, second: Activation) -> Activation:
    """Two activations, one behind the other, as one commit."""
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

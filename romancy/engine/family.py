"""Which life of an instance a message is for and, between parents and children, which run of both.

An id is used again, and parents and children have several runs if they are retried. What is for one must not reach
another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import CancelChild, Parent, StartChild, run_of_child, wanted_by
from romancy.engine.messages import (
    NO_RESULT,
    CancelMessage,
    ChildEnded,
    PauseMessage,
    TerminateMessage,
    UnpauseMessage,
)

if TYPE_CHECKING:
    from romancy.core import RunEnd, State, WorkflowStarted
    from romancy.engine.messages import Mailed

__all__ = ["end_to_tell", "is_for", "is_for_life", "is_of_another_run", "parent_of"]


def parent_of(instance_id: str, life: int, child: StartChild | CancelChild) -> Parent:
    """This life of the instance, as its child records its parent."""
    run = child.by if isinstance(child, StartChild) else ""
    return Parent(instance_id, child.child_id, life, run)


def end_to_tell(outcome: RunEnd, child_id: str, life: int, by: str) -> ChildEnded:
    """How a child tells this life of its parent that it ended. It worked for the parent's run `by`."""
    return ChildEnded(
        child_id=child_id,
        result=NO_RESULT if outcome.result is None else outcome.result,
        error=outcome.error,
        reason=outcome.reason,
        life=life,
        wanted_by=by,
    )


def is_for(message: Mailed, life: int, state: State) -> bool:
    """Whether the message is for this life of the instance and, between a parent and its child, for this run of both.

    An id may have been used again since, and each of the two may have been retried since.
    """
    match message:
        case ChildEnded():
            return is_for_life(message, life) and not is_of_another_run(message, state)
        case CancelMessage(parent=Parent() as sender):
            return state.started is not None and _gives_up(sender, message.wanted_by, state.started)
        case CancelMessage() | TerminateMessage() | PauseMessage() | UnpauseMessage():
            return is_for_life(message, life)
        case _:
            return True


def is_for_life(
    message: ChildEnded | CancelMessage | TerminateMessage | PauseMessage | UnpauseMessage, life: int
) -> bool:
    """Whether the message names this life of the instance, or none."""
    return message.life in (0, life)


def is_of_another_run(message: ChildEnded, state: State) -> bool:
    """Whether a run of the child ended that is not the one for which this run waits."""
    child = state.children.get(message.child_id)
    if child is None or state.started is None or not message.wanted_by:
        return False
    return message.wanted_by not in (state.started.nonce, run_of_child(state.started, child.started.instance_id))


def _gives_up(sender: Parent, by: str, started: WorkflowStarted) -> bool:
    parent = started.parent
    if parent is None or not _is_same(parent, sender):
        return False
    wanted = wanted_by(started)
    return wanted == by or not (wanted and by)


def _is_same(one: Parent, other: Parent) -> bool:
    same_child = (one.instance_id, one.child_id) == (other.instance_id, other.child_id)
    return same_child and (one.life == other.life or not (one.life and other.life))

"""Turns what lies in an inbox (messages, ends of children, cancellations) into the inputs of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import CancelRequested, ChildCancelled, ChildCompleted, ChildFailed, Message, MessageReceived
from romancy.engine.messages import CancelMessage, ChildEnded, TerminateMessage

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine.messages import Mailed

__all__ = ["input_from_message"]


def input_from_message(message: Mailed, at: int, wait_id: str) -> Input | None:
    """The input, dated when the database took the message. None: no input follows.

    A message of a user ends the wait `wait_id`.
    """
    match message:
        case Message():
            return MessageReceived(at=at, id=wait_id, message=message)
        case CancelMessage():
            return CancelRequested(at=at, reason=message.reason)
        case ChildEnded():
            if message.error is not None:
                return ChildFailed(at=at, id=message.child_id, error=message.error)
            if bytes(message.result):
                return ChildCompleted(at=at, id=message.child_id, result=message.result)
            return ChildCancelled(at=at, id=message.child_id, reason=message.reason)
        case TerminateMessage():
            return None

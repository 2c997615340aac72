"""Turns the messages of an inbox (signals, ends of children, cancellations) into the inputs of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import (
    CancelRequested,
    ChannelReceived,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    EventReceived,
)
from romancy.engine.messages import CancelMessage, ChannelMessage, ChildEnded, Signal, TerminateMessage

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine.messages import Message

__all__ = ["input_from_message"]


def input_from_message(message: Message, at: int, wait_id: str, posted_at: int | None = None) -> Input | None:
    """The input of a message that came `at`; a signal ends the wait `wait_id`. None: no input follows.

    A message that was kept before it came keeps the time when it was posted, unless its sender gave another.
    """
    match message:
        case Signal():
            return EventReceived(
                at=at,
                id=wait_id,
                name=message.name,
                data=message.data,
                event_id=message.event_id,
                source=message.source,
                subject=message.subject,
                time=posted_at if message.time is None else message.time,
                headers=message.headers,
                extensions=message.extensions,
            )
        case ChannelMessage():
            return ChannelReceived(
                at=at,
                id=wait_id,
                channel=message.channel,
                data=message.data,
                message_id=message.message_id,
                sender=message.sender,
                metadata=message.metadata,
                headers=message.headers,
                time=posted_at,
            )
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

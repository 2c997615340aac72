"""From a message in the inbox to the input that a run can be fed, if something in the run waits for it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import CancelRequested, ChildCancelled, ChildCompleted, ChildFailed, EventReceived
from romancy.engine._messages import CancelMessage, ChildEnded, Signal

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine._live import Live
    from romancy.engine._messages import Message

__all__ = ["input_for"]


def input_for(live: Live, message: Message, at: int) -> Input | None:
    """The input, dated when the database took the message; None while nothing waits for it.

    A signal that finds its wait takes it: the next one needs another wait.
    """
    if isinstance(message, CancelMessage):
        return CancelRequested(at=at, reason=message.reason)
    if isinstance(message, ChildEnded):
        if message.error is not None:
            return ChildFailed(at=at, id=message.child_id, error=message.error)
        if bytes(message.result):
            return ChildCompleted(at=at, id=message.child_id, result=message.result)
        return ChildCancelled(at=at, id=message.child_id, reason=message.reason)
    wait_id = live.match(message) if isinstance(message, Signal) else None
    if wait_id is None or not isinstance(message, Signal):
        return None
    live.waits.pop(wait_id)
    return EventReceived(
        at=at,
        id=wait_id,
        name=message.name,
        data=message.data,
        event_id=message.event_id,
        source=message.source,
        subject=message.subject,
        time=message.time,
    )

"""Turns what lies in an inbox (messages, ends of children, cancellations) into the inputs of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.core import (
    CancelRequested,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    Message,
    MessageReceived,
    PlaceGranted,
    PlaceRefused,
    Topic,
    WaitTimedOut,
    said_in,
)
from romancy.engine.messages import (
    CancelMessage,
    ChildEnded,
    PauseMessage,
    PlaceFull,
    PlaceGiven,
    PlaceLost,
    TerminateMessage,
    UnpauseMessage,
)

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine.messages import Mailed

__all__ = ["input_from_message"]


def input_from_message(message: Mailed, at: int, wait_id: str, posted_at: int | None = None) -> Input | None:
    """The input of a message that came `at`. None: no input follows.

    A message of a user ends the wait `wait_id`, and a place is that of the demand of this id. If a message was kept
    before it came, it keeps the time when it was posted, unless its sender gave another. What says that the time of a
    question is over ends its wait as its time does.
    """
    match message:
        case Message(topic=Topic(kind="question")) if said_in(message).how == "expiry":
            return WaitTimedOut(at=at, id=wait_id)
        case Message():
            if posted_at is not None and message.time is None:
                message = replace(message, time=posted_at)
            return MessageReceived(at=at, id=wait_id, message=message)
        case CancelMessage():
            return CancelRequested(at=at, reason=message.reason)
        case ChildEnded():
            if message.error is not None:
                return ChildFailed(at=at, id=message.child_id, error=message.error)
            if bytes(message.result):
                return ChildCompleted(at=at, id=message.child_id, result=message.result)
            return ChildCancelled(at=at, id=message.child_id, reason=message.reason)
        case PlaceGiven() | PlaceFull() | PlaceLost():
            return _about_a_place(message, at, wait_id)
        case TerminateMessage() | PauseMessage() | UnpauseMessage():
            return None


def _about_a_place(message: PlaceGiven | PlaceFull | PlaceLost, at: int, place: str) -> Input:
    match message:
        case PlaceGiven():
            return PlaceGranted(at=at, id=place)
        case PlaceFull():
            return PlaceRefused(at=at, id=place)
        case PlaceLost(limit, key):
            reason = f"another start takes its place at limit {limit!r}{f' with the key {key!r}' if key else ''}"
            return CancelRequested(at=at, reason=reason, place=place)

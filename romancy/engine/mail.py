"""Sorts the messages of an inbox, and turns them into the inputs of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import (
    CancelRequested,
    ChannelReceived,
    ChildCancelled,
    ChildCompleted,
    ChildFailed,
    EventReceived,
    Parent,
)
from romancy.engine.messages import CancelMessage, ChannelMessage, ChildEnded, Signal, TerminateMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core import Input
    from romancy.engine.messages import Message
    from romancy.storage.records import Append, InboxRow

__all__ = ["UsedMail", "in_order_of_arrival", "input_of", "is_for"]

_NONE: Final = frozenset[str]()
_SENDER: Final = 16
"""Characters at the end of a delivery id that name its sender."""


def in_order_of_arrival(rows: Sequence[InboxRow]) -> Sequence[InboxRow]:
    """Sort messages, which come sorted by delivery id, by arrival. One sender's ids overrule the clock."""
    if len(rows) < 2:  # noqa: PLR2004 - one is in order
        return rows
    latest: dict[str, int] = {}
    came: list[int] = []
    for row in rows:
        sender = row.delivery_id[-_SENDER:]
        latest[sender] = at = max(row.at, latest.get(sender, 0))
        came.append(at)
    return [rows[place] for place in sorted(range(len(rows)), key=came.__getitem__)]


class UsedMail:
    """Messages that appends have consumed since the last claim began.

    The store may have read the claim's answer before it wrote those appends. The answer then still holds the messages.
    """

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}

    def note(self, item: Append) -> None:
        """Remember the messages that an accepted append has consumed."""
        self._ids.setdefault(item.instance_id, set()).update(item.consumed)

    def of(self, instance_id: str) -> set[str] | frozenset[str]:
        """The delivery ids of the messages that this instance has consumed."""
        return self._ids.get(instance_id, _NONE)

    def forget(self) -> None:
        """A claim begins: messages consumed earlier cannot be in its answer."""
        self._ids.clear()


def is_for(message: Message, life: int, parent: Parent | None) -> bool:
    """Whether the message is for this life of the instance, whose parent is `parent`.

    An id may have been used again since.
    """
    match message:
        case ChildEnded():
            return message.life in (0, life)
        case CancelMessage(parent=Parent() as sender):
            return parent is not None and _is_same(parent, sender)
        case _:
            return True


def _is_same(one: Parent, other: Parent) -> bool:
    same_child = (one.instance_id, one.child_id) == (other.instance_id, other.child_id)
    return same_child and (one.life == other.life or not (one.life and other.life))


def input_of(message: Message, at: int, wait_id: str) -> Input | None:
    """The input, dated when the database took the message; a signal ends the wait `wait_id`. None: no input follows."""
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
                time=message.time,
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

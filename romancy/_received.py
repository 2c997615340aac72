"""The event that a body or a subscriber gets, made from a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy._moments import sent_at
from romancy.event import Event
from romancy.serialization import loads

if TYPE_CHECKING:
    from romancy.core import Message

__all__ = ["event_of"]


def event_of(message: Message, at: int, model: Any) -> Event[Any]:
    """An event as it was received at a time (µs). Raises SerializationError if its data does not fit the model."""
    name = message.topic.name
    return Event(
        id=message.id,
        type=name,
        source=message.source,
        subject=message.subject,
        time=sent_at(at, message.time, f"event {name!r}"),
        data=loads(message.data, model, f"event {name!r}"),
        headers=message.headers,
        extensions=msgspec.json.decode(message.beside) or {},
        sender=message.sender or None,
    )

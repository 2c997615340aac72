"""What a body gets of a message: an event, or a message of a channel, made from what the log holds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy._moments import sent_at
from romancy.event import Event
from romancy.serialization import loads

if TYPE_CHECKING:
    from romancy.core import MessageReceived

__all__ = ["event_of"]


def event_of(received: MessageReceived, model: Any) -> Event[Any]:
    """The event in an input of the run. Raises SerializationError if its data does not fit the model."""
    message = received.message
    name = message.topic.name
    return Event(
        id=message.id,
        type=name,
        source=message.source,
        subject=message.subject,
        time=sent_at(received.at, message.time, f"event {name!r}"),
        data=loads(message.data, model, f"event {name!r}"),
        headers=message.headers,
        extensions=msgspec.json.decode(message.beside) or {},
        sender=message.sender or None,
    )

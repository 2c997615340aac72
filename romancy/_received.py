"""The event that a body gets, made from what the log holds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy._moments import sent_at
from romancy.event import Event
from romancy.serialization import loads

if TYPE_CHECKING:
    from romancy.core import EventReceived

__all__ = ["event_of"]


def event_of(received: EventReceived, model: Any) -> Event[Any]:
    return Event(
        id=received.event_id,
        type=received.name,
        source=received.source,
        subject=received.subject,
        time=sent_at(received.at, received.time, f"event {received.name!r}"),
        data=loads(received.data, model, f"event {received.name!r}"),
        headers=received.headers,
        extensions=received.extensions,
    )

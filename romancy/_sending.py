"""Checks and encodes signals before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from romancy._outgoing import name_of_event
from romancy._sizes import fitting
from romancy.engine.messages import Signal
from romancy.event import EventType
from romancy.serialization import dumps
from romancy.storage.limits import check_id, check_key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["name_of_event", "signal_message"]


def signal_message(
    instance_id: str,
    event: EventType[Any] | str,
    data: object,
    key: str | None,
    id: str | None,
    stored: Callable[[bytes], int] | None = None,
) -> Signal:
    """The message that carries a signal to this instance."""
    name, declared = name_of_event(event), event.data if isinstance(event, EventType) else Any
    check_key(key)
    if id is not None:
        check_id(id, "id of the signal")
    what = f"data of the signal {name!r} to instance {instance_id}"
    return Signal(name=name, data=Raw(fitting(dumps(data, what, declared), what, stored)), key=key, event_id=id or "")

"""Events to send to workflows, from a program, a workflow or an activity: checked, encoded, and with their key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Raw

from romancy._headers import extensions_of, headers_of
from romancy._moments import microseconds_of
from romancy._sizes import fitting
from romancy.event import EventType
from romancy.serialization import dumps
from romancy.storage.limits import check_id, check_key, check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["OutgoingEvent", "name_of_event", "outgoing_event"]


class OutgoingEvent(NamedTuple):
    """An event that can be sent."""

    name: str
    data: Raw
    key: str | None
    source: str
    id: str
    """Empty: the sender did not choose one."""
    subject: str | None
    time: int | None
    headers: dict[str, str]
    extensions: dict[str, str | int | bool]


def name_of_event(event: Any) -> str:
    """The name of an event type, or a name given as text. Raises UsageError if no row can hold it."""
    name = event.name if isinstance(event, EventType) else event
    check_id(name, "name of the event")
    return str(name)


def outgoing_event(
    event: EventType[Any] | str,
    data: object,
    *,
    key: str | None,
    source: str | None,
    id: str | None,
    subject: str | None,
    headers: Mapping[str, str] | None,
    time: datetime | None = None,
    extensions: Mapping[str, str | int | bool] | None = None,
    stored: Callable[[bytes], int] | None = None,
) -> OutgoingEvent:
    """The event. Its key is the given one, else the one that the type finds in the data, else the subject.

    Raises SerializationError for data that do not fit the type, and UsageError for other bad arguments.
    """
    name, declared = name_of_event(event), event.data if isinstance(event, EventType) else Any
    what = f"event {name!r}"
    check_key(key)
    if id is not None:
        check_id(id, f"id of the {what}")
    for value, attribute in ((source, "source"), (subject, "subject")):
        if value is not None:
            check_text(value, f"{attribute} of the {what}")
    raw = Raw(fitting(dumps(data, f"data of the {what}", declared), f"data of the {what}", stored))
    if key is None and isinstance(event, EventType):
        key = event.key_in(raw)
    return OutgoingEvent(
        name=name,
        data=raw,
        key=subject if key is None else key,
        source=source or "",
        id=id or "",
        subject=subject,
        time=None if time is None else microseconds_of(time, f"time of the {what}"),
        headers=headers_of(headers, what),
        extensions=extensions_of(extensions, what),
    )

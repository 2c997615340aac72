"""Messages to send, from a program, a workflow or an activity: checked, encoded, and with their topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from romancy._headers import extensions_of, headers_of
from romancy._microseconds import microseconds_of
from romancy._sizes import fitting, fitting_together
from romancy.core import NULL, Message, Topic
from romancy.errors import UsageError
from romancy.event import EventType
from romancy.request import RequestType
from romancy.serialization import dumps
from romancy.storage.limits import check_id, check_key, check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["event_message", "name_of_event", "signal_message"]

_SHORT: Final = 4096
"""Texts of at most so many characters are not measured. A commit has room for them."""


def name_of_event(event: Any) -> str:
    """The name of an event type, or a name given as text. Raises UsageError for what is none."""
    if isinstance(event, RequestType):
        raise UsageError(
            f"{event.name!r} is a request, not an event: send it with `request` or `ask`, and receive it "
            "with a handler or `ctx.wait_request`"
        )
    name = event.name if isinstance(event, EventType) else event
    check_id(name, "name of the event")
    return str(name)


def event_message(
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
) -> Message:
    """An event. Its key is the given one, else the one that the type finds in the data, else the subject.

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
    beside = extensions_of(extensions, what)
    topic = Topic(name, subject if key is None else key)
    _check_texts(raw, (topic.key, subject, source), f"{what} with its key, subject and source", stored)
    return Message(
        topic=topic,
        data=raw,
        id=id or "",
        source=source or "",
        subject=subject,
        time=None if time is None else microseconds_of(time, f"time of the {what}"),
        headers=headers_of(headers, what),
        beside=Raw(msgspec.json.encode(beside)) if beside else NULL,
    )


def signal_message(
    instance_id: str,
    event: EventType[Any] | str,
    data: object,
    key: str | None,
    id: str | None,
    stored: Callable[[bytes], int] | None = None,
) -> Message:
    """An event for this instance alone."""
    name, declared = name_of_event(event), event.data if isinstance(event, EventType) else Any
    check_key(key)
    if id is not None:
        check_id(id, "id of the signal")
    what = f"data of the signal {name!r} to instance {instance_id}"
    raw = Raw(fitting(dumps(data, what, declared), what, stored))
    _check_texts(raw, (key,), f"signal {name!r} to instance {instance_id} with its key", stored)
    return Message(topic=Topic(name, key), data=raw, id=id or "")


def _check_texts(
    raw: Raw, texts: tuple[str | None, ...], what: str, stored: Callable[[bytes], int] | None = None
) -> None:
    """Raise PayloadTooLargeError if texts beside the data make the message too large for one event."""
    size = 0
    for text in texts:
        size += len(text) if text else 0
    if size > _SHORT:
        fitting_together(bytes(raw), msgspec.json.encode(texts), what, stored)

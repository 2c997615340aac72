"""Events as workflows see them: event types, each with the type of its data, and received events."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, cast, overload

import msgspec

from romancy._microseconds import sent_at
from romancy.errors import UsageError
from romancy.handler import Handler
from romancy.serialization import loads
from romancy.storage.query import parse_path

if TYPE_CHECKING:
    from msgspec import Raw
    from typing_extensions import TypeForm, TypeVar

    from romancy.core import Message

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
D = TypeVar("D")

__all__ = ["Event", "EventType", "Sent", "event_of"]


class EventType(Generic[T]):
    """The name of an event or a signal and the type of its data, shared by sender and receiver.

    `key` is the path of the key in the data, as in a search: `EventType("payment.settled", Payment, key="order.id")`.
    An event of this type then has that value as its key. It must be text or a whole number.
    """

    __slots__ = ("data", "key", "name")

    def __init__(self, name: str, data: TypeForm[T], *, key: str | None = None) -> None:
        if not name:
            raise UsageError("an event type needs a name")
        if key is not None:
            parse_path(key)
        self.name = name
        self.data = data
        self.key = key

    def key_in(self, data: Raw) -> str | None:
        """The key in these data; None if the type has no path. Raises UsageError if no valid key is there."""
        if self.key is None:
            return None
        value: Any = msgspec.json.decode(data)
        for segment in parse_path(self.key):
            value = _member(value, segment)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise UsageError(
                f"event {self.name!r}: the data have no text and no whole number at {self.key!r}, where its type says "
                "that the key is; send data that do, or give key="
            )
        return str(value)

    @overload
    def by(
        self: EventType[None], function: Callable[[], Coroutine[Any, Any, None]], /, *, key: str | None = None
    ) -> Handler[None]: ...
    @overload
    def by(
        self: EventType[D], function: Callable[[D], Coroutine[Any, Any, None]], /, *, key: str | None = None
    ) -> Handler[D]: ...
    def by(
        self: EventType[Any], function: Callable[..., Coroutine[Any, Any, None]], /, *, key: str | None = None
    ) -> Handler[Any]:
        """A handler of such messages, for `ctx.handling`: an `async def` that gets the data of a message.

        Messages without data (`EventType(name, None)`) are handled by a function without parameters. With a `key`, it
        handles messages with this key.
        """
        return Handler(self.name, self.data, function, key)

    def __repr__(self) -> str:
        return f"EventType({self.name!r})"


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """An event that `wait_event` returns: the CloudEvent's attributes and its data, read as the declared type."""

    id: str
    type: str
    source: str
    subject: str | None
    time: datetime
    data: T
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The headers that the sender gave."""
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict[str, "str | int | bool"])
    """The extension attributes of a CloudEvent."""
    sender: str | None = None
    """The id of the instance that sent it. None: no workflow did."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer to `app.send`: the event is durable, or was so before."""

    id: str
    """The id of the event, as its receivers see it: yours, or the one that Romancy gave it."""
    duplicate: bool = False
    """Whether an event of this type with the same `source` and `id` had been sent before. This one was dropped."""


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


def _member(container: Any, segment: str) -> Any:
    """The value at one segment of a path; None if there is none."""
    if isinstance(container, dict):
        return cast("dict[str, Any]", container).get(segment)
    if isinstance(container, list) and segment.isascii() and segment.isdigit():
        items = cast("Sequence[Any]", container)
        return items[int(segment)] if int(segment) < len(items) else None
    return None

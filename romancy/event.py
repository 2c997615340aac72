"""Events as workflows see them: event types, each with the type of its data, and received events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from romancy.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import TypeForm, TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["Event", "EventType"]


class EventType(Generic[T]):
    """The name of an event or a signal and the type of its data, shared by sender and receiver."""

    __slots__ = ("data", "name")

    def __init__(self, name: str, data: TypeForm[T]) -> None:
        if not name:
            raise UsageError("an event type needs a name")
        self.name = name
        self.data = data

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

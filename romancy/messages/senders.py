"""Sends from outside: signals and events to workflows, and events to the outside in a caller's transaction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Raw

from romancy._message_conditions import where_of
from romancy._outgoing import event_message, name_of_event, signal_message
from romancy._sizes import fitting
from romancy.channel import Channel, declared
from romancy.core import Topic
from romancy.errors import UsageError
from romancy.event import Event, EventType, Sent, event_of
from romancy.messages.channels import AppChannel
from romancy.messages.questions import Questions
from romancy.messages.subscriptions import Subscription, end_subscription
from romancy.serialization import dumps
from romancy.storage.limits import check_id, check_key
from romancy.storage.records import Delivered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from typing_extensions import TypeForm

    from romancy._access import Access
    from romancy.messages.mailer import Mailer
    from romancy.storage.query import FilterValue

__all__ = ["Senders"]

T = TypeVar("T")


class Senders(Questions):
    """Sends messages to instances, wherever they run."""

    def __init__(self, access: Access, mailer: Mailer) -> None:
        self._access = access
        self._mailer = mailer

    async def send(  # noqa: PLR0913 - the attributes of an event
        self,
        type: EventType[Any] | str,
        data: object = None,
        *,
        to: str | None = None,
        key: str | None = None,
        source: str | None = None,
        id: str | None = None,
        subject: str | None = None,
        time: datetime | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, str | int | bool] | None = None,
        session: object = None,
    ) -> Sent:
        """Send an event to workflows. It is durable when this returns; with `session=`, by your own commit.

        With `to`, it goes to that instance alone, as a signal does, and is kept there until the workflow waits for it.
        Raises InstanceNotFoundError and InstanceEndedError.

        Otherwise it goes to every workflow that waits for this type without a key, or has subscribed to it, at this
        moment. If it has a key, it also goes to exactly one wait for that key, the longest one. If there is none, the
        event is kept until there is, by default for a week. The key is `key`, else what the `EventType` finds in the
        data, else the `subject`.

        With an `id` of yours, another event of this type with the same `source` and `id` is dropped, and
        `Sent.duplicate` is set. That is remembered for at least a week. `headers` travel along and are read as
        `Event.headers`, as `time` and `extensions` are, which are attributes of a CloudEvent.
        """
        message = event_message(
            type,
            data,
            key=key,
            source=source,
            id=id,
            subject=subject,
            headers=headers,
            time=time,
            extensions=extensions,
            stored=self._access.stored_size,
        )
        if to is not None:
            check_id(to)
        sent_id, answer = await self._mailer.send(message, to, session, what="send")
        return Sent(sent_id, answer is not Delivered.ACCEPTED)

    @overload
    def channel(self, channel: Channel[T], /) -> AppChannel[T]: ...
    @overload
    def channel(self, channel: str, /) -> AppChannel[Any]: ...
    @overload
    def channel(self, channel: str, /, *, model: TypeForm[T]) -> AppChannel[T]: ...
    def channel(self, channel: Channel[Any] | str, /, *, model: Any = Any) -> AppChannel[Any]:
        """A channel, to publish on and to subscribe to from outside of workflows."""
        return AppChannel(self._mailer, declared(channel, model))

    @overload
    def subscribe(
        self, type: EventType[T], name: str, /, *, where: Mapping[str, FilterValue] | None = None
    ) -> Subscription[Event[T]]: ...
    @overload
    def subscribe(
        self, type: str, name: str, /, *, where: Mapping[str, FilterValue] | None = None
    ) -> Subscription[Event[Any]]: ...
    def subscribe(
        self, type: EventType[Any] | str, name: str, /, *, where: Mapping[str, FilterValue] | None = None
    ) -> Subscription[Event[Any]]:
        """Receive every event of a type under a name, in an `async with` block. The subscription outlasts the block.

        Under the same name, the next block (of this process or of another) continues after the last acknowledged
        event. `unsubscribe(type, name)` ends the subscription. Use a name in one place at a time. `where` excludes
        events whose data do not meet these conditions, in the form of `app.find_instances`.
        """
        topic, model = Topic(name_of_event(type)), type.data if isinstance(type, EventType) else Any
        conditions = where_of(where, lambda: self._access.hides)
        return Subscription(self._access, topic, name, "broadcast", partial(event_of, model=model), conditions)

    async def unsubscribe(self, type: EventType[Any] | str, name: str, /) -> None:
        """End the subscription to a type of events under this name. Unacknowledged events are dropped."""
        await end_subscription(self._access, Topic(name_of_event(type)), name)

    @overload
    async def signal(
        self,
        instance_id: str,
        event: EventType[None],
        data: None = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        instance_id: str,
        event: EventType[T],
        data: T,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        instance_id: str,
        event: str,
        data: object = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...
    async def signal(
        self,
        instance_id: str,
        event: EventType[Any] | str,
        data: object = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None:
        """Send an event to one instance. It is kept until the workflow waits for it; nothing is lost in between.

        Raises InstanceNotFoundError if there is no such instance, and InstanceEndedError if it has ended. With
        `session=` the commit of your own transaction sends it, and these answers are what that transaction sees now.

        With an `id` of yours, a second signal of this name and id to the same instance is dropped, whatever its
        content, even after the first one was received. The workflow sees the id as the event's `id`. The id is
        remembered for a week, and longer until `purge` is called. A later instance under this id remembers nothing.
        """
        message = signal_message(instance_id, event, data, key, id, self._access.stored_size)
        await self._mailer.send(message, instance_id, session, what="signal")

    async def publish(
        self, type: str | EventType[Any], data: object = None, *, key: str | None = None, session: object
    ) -> None:
        """Send an event to the outside by the commit of your own transaction. A rollback sends nothing."""
        if session is None:
            raise UsageError("app.publish needs a transaction of yours: give it as session=")
        name, declared = name_of_event(type), type.data if isinstance(type, EventType) else Any
        check_key(key)
        store = self._access.opened()
        what = f"event {name!r}"
        raw = Raw(fitting(dumps(data, what, declared), what, self._access.stored_size))
        with self._access.deadlines.call("publish", joined=True):
            await self._mailer.publish(name, raw, key, store, session)

"""Sends from outside: signals and events to workflows, and events to the outside in a caller's transaction."""

from __future__ import annotations

import itertools
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Raw
from msgspec.structs import replace

from romancy._deadlines import ANSWER_WITHIN, Deadlines
from romancy._outgoing import event_message, name_of_event, signal_message
from romancy._received import event_of
from romancy._sizes import fitting
from romancy._where import where_of
from romancy.channel import Channel, declared
from romancy.core import Topic
from romancy.engine import outgoing, refuse_to_wait, send_in, stored_size
from romancy.engine.announcing import Announcer, given, kind_of_sending
from romancy.engine.messages import encode_message
from romancy.engine.outside.poster import Poster
from romancy.engine.outside.signal_ids import refuse_ended
from romancy.engine.sending import delivery_of, posting_of
from romancy.errors import InstanceNotFoundError, UsageError
from romancy.event import Event, EventType, Sent
from romancy.messages.channels import AppChannel
from romancy.messages.subscriptions import Port, Subscription, end_subscription
from romancy.serialization import dumps
from romancy.storage.limits import check_id, check_key
from romancy.storage.records import Delivered, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from typing_extensions import TypeForm

    from romancy.core import Message
    from romancy.engine.messages import Mailed
    from romancy.hooks import Sending
    from romancy.storage.protocol import Store
    from romancy.storage.query import FilterValue
    from romancy.storage.routing import Posting

__all__ = ["Senders"]

T = TypeVar("T")


class Senders:
    """Sends messages to instances, wherever they run."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._token = secrets.token_hex(8)
        self._announcer: Announcer | None = None
        self._deadlines = Deadlines(ANSWER_WITHIN)
        self._poster = Poster(
            lambda: self._opened().rooms.router, lambda posting: self._dispatch(_places(posting), None)
        )

    def _opened(self) -> Store:
        raise UsageError("only an app sends")

    def _stored_size(self, raw: bytes) -> int:
        """How many bytes are stored for a value."""
        return stored_size(self._opened(), raw)

    def _to_write(self, what: str, *instance_ids: str) -> Store:
        """The store, for a call that writes. Raises UsageError if the write would wait for the caller's own session."""
        store = self._opened()
        refuse_to_wait(store, what, instance_ids)
        return store

    def _dispatch(self, addresses: Iterable[str], session: object) -> None:
        """Dispatch these addresses, after the caller's transaction if there is one."""

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
            stored=self._stored_size,
        )
        if to is not None:
            check_id(to)
        sent_id, answer = await self._send(message, to, session, what="send")
        return Sent(sent_id, answer is not Delivered.ACCEPTED)

    async def _send(
        self, message: Message, to: str | None, session: object = None, *, what: str
    ) -> tuple[str, Delivered]:
        """Send a message, to one instance or to those that wait for its topic; its id, and the database's answer.

        Every message of a program goes this way. Raises InstanceNotFoundError and InstanceEndedError.
        """
        chosen, stamp = bool(message.id), self._stamp()
        message, sending = self._announced(message if chosen else replace(message, id=stamp), to)
        ids, joined = [] if to is None else [to], session is not None
        with self._deadlines.call(what, ids, message_id=message.id if chosen else None, joined=joined):
            if to is None:
                answer = await self._post(posting_of(message, stamp, chosen=chosen), session, what)
            else:
                delivery = delivery_of(message, to, stamp, chosen=chosen)
                store = self._opened() if joined else self._to_write(what, to)
                answer = await self._deliver(delivery, session)
                if answer is Delivered.CLOSED:
                    await refuse_ended(store, to, message, chosen=chosen)
        if answer is Delivered.ACCEPTED:
            self._tell_sent(sending)
        return message.id, answer

    def _announced(self, message: Message, to: str | None) -> tuple[Message, Sending | None]:
        """The message with all its headers, and the sending about which hooks were asked."""
        headers = given(message.headers)
        sending = None
        if self._announcer is not None:
            kind = kind_of_sending(message, to)
            sending = self._announcer.sending(kind, message.topic.name, to, headers)
            headers = sending.headers
        return message if headers is message.headers else replace(message, headers=dict(headers)), sending

    def _tell_sent(self, sending: Sending | None) -> None:
        if sending is not None and self._announcer is not None:
            self._announcer.sent((sending,))

    async def _post(self, posting: Posting, session: object, what: str) -> Delivered:
        if session is None:
            self._to_write(what)
            return await self._poster.post(posting)
        (answer,) = await send_in(session, self._opened(), postings=[posting])
        if answer is Delivered.ACCEPTED:
            self._dispatch(_places(posting), session)
        return answer

    @overload
    def channel(self, channel: Channel[T], /) -> AppChannel[T]: ...
    @overload
    def channel(self, channel: str, /) -> AppChannel[Any]: ...
    @overload
    def channel(self, channel: str, /, *, model: TypeForm[T]) -> AppChannel[T]: ...
    def channel(self, channel: Channel[Any] | str, /, *, model: Any = Any) -> AppChannel[Any]:
        """A channel, to publish on and to subscribe to from outside of workflows."""
        return AppChannel(self._port, declared(channel, model))

    @property
    def _port(self) -> Port:
        return Port(self._opened, self._send, self._dispatch)

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
        conditions = where_of(where, lambda: self._port.hides)
        return Subscription(self._port, topic, name, "broadcast", partial(event_of, model=model), conditions)

    async def unsubscribe(self, type: EventType[Any] | str, name: str, /) -> None:
        """End the subscription to a type of events under this name. Unacknowledged events are dropped."""
        await end_subscription(self._port, Topic(name_of_event(type)), name)

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
        message = signal_message(instance_id, event, data, key, id, self._stored_size)
        await self._send(message, instance_id, session, what="signal")

    async def publish(
        self, type: str | EventType[Any], data: object = None, *, key: str | None = None, session: object
    ) -> None:
        """Send an event to the outside by the commit of your own transaction. A rollback sends nothing."""
        if session is None:
            raise UsageError("app.publish needs a transaction of yours: give it as session=")
        name, declared = name_of_event(type), type.data if isinstance(type, EventType) else Any
        check_key(key)
        what = f"event {name!r}"
        raw = Raw(fitting(dumps(data, what, declared), what, self._stored_size))
        headers = given({})
        sending = None if self._announcer is None else self._announcer.sending("publish", name, None, headers)
        headers = headers if sending is None else sending.headers
        row = outgoing(name, raw, key, self._stamp(), headers=headers)
        with self._deadlines.call("publish", joined=True):
            await send_in(session, self._opened(), outbox=[row])
        self._tell_sent(sending)

    def _stamp(self) -> str:
        return f"{next(self._numbers):016x}{self._token}"

    async def _mail(self, instance_id: str, mailed: Mailed) -> Delivered:
        """Deliver what is no message of a user. Raises InstanceNotFoundError."""
        body = encode_message(mailed)
        return await self._deliver(Delivery(instance_id=instance_id, delivery_id=self._stamp(), body=body), None)

    async def _deliver(self, delivery: Delivery, session: object) -> Delivered:
        if session is None:
            (answer,) = await self._opened().deliver([delivery])
        else:
            (answer,) = await send_in(session, self._opened(), [delivery])
        if answer is Delivered.UNKNOWN:
            raise InstanceNotFoundError(f"there is no instance {delivery.instance_id!r}")
        return answer


def _places(posting: Posting) -> list[str]:
    return [place.address for place in posting.places]

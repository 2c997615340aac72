"""Sends from outside: signals and events to workflows, and events to the outside in a caller's transaction."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Raw
from msgspec.structs import replace

from romancy._answering import ANSWER_WITHIN, Deadlines
from romancy._outgoing import name_of_event, outgoing_event
from romancy._outside_channel import AppChannel, ChannelPort
from romancy._sending import signal_message
from romancy._sizes import fitting
from romancy.channel import Channel, declared
from romancy.engine import outgoing, refuse_to_wait, send_in, stored_size
from romancy.engine.announcing import Announcer, given
from romancy.engine.events import dedupe_of_event, posting_of, signal_of
from romancy.engine.messages import encode_message
from romancy.engine.outside.poster import Poster
from romancy.engine.outside.signal_ids import refuse_ended
from romancy.errors import InstanceNotFoundError, UsageError
from romancy.event import EventType, Sent
from romancy.serialization import dumps
from romancy.storage.limits import check_id, check_key
from romancy.storage.records import Delivered, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from typing_extensions import TypeForm

    from romancy._outgoing import OutgoingEvent
    from romancy.engine.messages import Message, Signal
    from romancy.hooks import Sending
    from romancy.storage.protocol import Store
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
        `Sent.duplicate` is set. That is remembered for at least a week, with `to` by the instance, and not by a later
        one under its id. `headers` travel along and are read as `Event.headers`, as `time`
        and `extensions` are, which are attributes of a CloudEvent.
        """
        event = outgoing_event(
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
        event, sending = self._announced(event, to)
        stamp = self._stamp()
        signal = signal_of(event, stamp)
        ids = [] if to is None else [to]
        chosen = event.id or None
        with self._deadlines.call("send", ids, message_id=chosen, joined=session is not None):
            if to is not None:
                sent = await self._send_to(to, signal, session, chosen=chosen is not None)
            else:
                answer = await self._post_now(posting_of(signal, stamp, chosen=chosen is not None), session)
                sent = Sent(signal.event_id, answer is Delivered.DUPLICATE)
        if not sent.duplicate:
            self._tell_sent(sending)
        return sent

    def _announced(self, event: OutgoingEvent, to: str | None) -> tuple[OutgoingEvent, Sending | None]:
        headers = given(event.headers)
        sending = None
        if self._announcer is not None:
            sending = self._announcer.sending("send" if to is None else "signal", event.name, to, headers)
            headers = sending.headers
        return event if headers is event.headers else event._replace(headers=dict(headers)), sending

    def _tell_sent(self, sending: Sending | None) -> None:
        if sending is not None and self._announcer is not None:
            self._announcer.sent((sending,))

    async def _post(self, posting: Posting, session: object) -> Delivered:
        """Post a message in time, and dispatch it soon."""
        with self._deadlines.call("publish", joined=session is not None):
            return await self._post_now(posting, session)

    async def _post_now(self, posting: Posting, session: object) -> Delivered:
        if session is None:
            self._to_write("send")
            return await self._poster.post(posting)
        (answer,) = await send_in(session, self._opened(), postings=[posting])
        if answer is Delivered.ACCEPTED:
            self._dispatch(_places(posting), session)
        return answer

    async def _send_to(self, instance_id: str, signal: Signal, session: object, *, chosen: bool) -> Sent:
        store = self._opened() if session is not None else self._to_write("send", instance_id)
        dedupe = dedupe_of_event(signal) if chosen else None
        answer = await self._deliver(instance_id, signal, session, dedupe=dedupe)
        if answer is Delivered.CLOSED:
            known = signal.event_id if chosen else None
            await refuse_ended(store, instance_id, signal.name, known, source=signal.source)
        return Sent(signal.event_id, answer is not Delivered.ACCEPTED)

    @overload
    def channel(self, channel: Channel[T], /) -> AppChannel[T]: ...
    @overload
    def channel(self, channel: str, /) -> AppChannel[Any]: ...
    @overload
    def channel(self, channel: str, /, *, model: TypeForm[T]) -> AppChannel[T]: ...
    def channel(self, channel: Channel[Any] | str, /, *, model: Any = Any) -> AppChannel[Any]:
        """A channel, to publish on and to subscribe to from outside of workflows."""
        port = ChannelPort(self._opened, self._stamp, self._post, self._send, self._dispatch, self._announcer)
        return AppChannel(port, declared(channel, model))

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
        message, sending = self._announced_signal(
            instance_id, signal_message(instance_id, event, data, key, id, self._stored_size)
        )
        joined = session is not None
        store = self._opened() if joined else self._to_write("signal", instance_id)
        with self._deadlines.call("signal", [instance_id], message_id=id, joined=joined):
            dedupe = None if id is None else dedupe_of_event(message)
            answer = await self._deliver(instance_id, message, session, dedupe=dedupe)
            if answer is Delivered.CLOSED:
                await refuse_ended(store, instance_id, message.name, id)
        if answer is Delivered.ACCEPTED:
            self._tell_sent(sending)

    def _announced_signal(self, instance_id: str, message: Signal) -> tuple[Signal, Sending | None]:
        headers = given(message.headers)
        if self._announcer is None:
            return message if headers is message.headers else replace(message, headers=dict(headers)), None
        sending = self._announcer.sending("signal", message.name, instance_id, headers)
        return replace(message, headers=dict(sending.headers)), sending

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

    async def _send(
        self, instance_id: str, message: Message, session: object = None, *, dedupe: str | None = None
    ) -> Delivered:
        """Deliver a message in time. Raises InstanceNotFoundError."""
        with self._deadlines.call("signal", [instance_id], joined=session is not None):
            return await self._deliver(instance_id, message, session, dedupe=dedupe)

    async def _deliver(
        self, instance_id: str, message: Message, session: object = None, *, dedupe: str | None = None
    ) -> Delivered:
        store = self._opened() if session is not None else self._to_write("signal", instance_id)
        delivery = Delivery(
            instance_id=instance_id, delivery_id=self._stamp(), body=encode_message(message), dedupe=dedupe
        )
        if session is None:
            (answer,) = await store.deliver([delivery])
        else:
            (answer,) = await send_in(session, store, [delivery])
        if answer is Delivered.UNKNOWN:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        return answer


def _places(posting: Posting) -> list[str]:
    return [place.address for place in posting.places]

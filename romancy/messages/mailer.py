"""Sends every message of a program: announced to hooks, in time, and to one instance or to all that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.engine import outgoing, send_in
from romancy.engine.announcing import given, kind_of_sending
from romancy.engine.messages import encode_message
from romancy.engine.outside.signal_ids import refuse_ended
from romancy.engine.sending import delivery_of, posting_of
from romancy.errors import InstanceNotFoundError
from romancy.messages.poster import Poster, addresses_of
from romancy.storage.records import Delivered, Delivery

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy._access import Access
    from romancy.core import Message
    from romancy.engine.announcing import Announcer
    from romancy.engine.messages import Mailed
    from romancy.hooks import Sending
    from romancy.storage.protocol import Store
    from romancy.storage.routing import Posting

__all__ = ["Mailer"]


class Mailer:
    """The messages of one app."""

    def __init__(self, access: Access, announcer: Announcer | None = None) -> None:
        self.access = access
        self.announcer = announcer
        """Asks hooks for headers, and tells them what was sent. None if no hook wants that."""
        self._poster = Poster(access)

    async def send(
        self, message: Message, to: str | None, session: object = None, *, what: str
    ) -> tuple[str, Delivered]:
        """Send a message, to one instance or to those that wait for its topic; its id, and the database's answer.

        Every message of a program goes this way. Raises InstanceNotFoundError and InstanceEndedError.
        """
        access, ids, joined = self.access, [] if to is None else [to], session is not None
        store = access.opened(what) if joined else access.to_write(what, *ids)
        chosen, stamp = bool(message.id), access.stamp()
        message, sending = self.announced(message if chosen else replace(message, id=stamp), to)
        with access.deadlines.call(what, ids, message_id=message.id if chosen else None, joined=joined):
            if to is None:
                answer = await self._post(posting_of(message, stamp, chosen=chosen), store, session)
            else:
                answer = await _deliver(delivery_of(message, to, stamp, chosen=chosen), store, session)
                if answer is Delivered.CLOSED:
                    await refuse_ended(store, to, message, chosen=chosen)
        if answer is Delivered.ACCEPTED:
            self.tell_sent(sending)
        return message.id, answer

    async def publish(self, name: str, data: Raw, key: str | None, store: Store, session: object) -> None:
        """Send an event to the outside by the commit of the caller's transaction."""
        headers = given({})
        sending = None if self.announcer is None else self.announcer.sending("publish", name, None, headers)
        headers = headers if sending is None else sending.headers
        await send_in(session, store, outbox=[outgoing(name, data, key, self.access.stamp(), headers=headers)])
        self.tell_sent(sending)

    def announced(self, message: Message, to: str | None) -> tuple[Message, Sending | None]:
        """The message with all its headers, and the sending about which hooks were asked."""
        headers = given(message.headers)
        sending = None
        if self.announcer is not None:
            kind = kind_of_sending(message, to)
            sending = self.announcer.sending(kind, message.topic.name, to, headers)
            headers = sending.headers
        return message if headers is message.headers else replace(message, headers=dict(headers)), sending

    def tell_sent(self, sending: Sending | None) -> None:
        """Tell hooks that the database has what they were asked about."""
        if sending is not None and self.announcer is not None:
            self.announcer.sent((sending,))

    async def mail(self, store: Store, instance_id: str, mailed: Mailed) -> Delivered:
        """Deliver what is no message of a user. Raises InstanceNotFoundError."""
        body = encode_message(mailed)
        delivery = Delivery(instance_id=instance_id, delivery_id=self.access.stamp(), body=body)
        return await _deliver(delivery, store, None)

    async def _post(self, posting: Posting, store: Store, session: object) -> Delivered:
        if session is None:
            return await self._poster.post(posting)
        (answer,) = await send_in(session, store, postings=[posting])
        if answer is Delivered.ACCEPTED:
            self.access.dispatch(addresses_of(posting), session)
        return answer


async def _deliver(delivery: Delivery, store: Store, session: object) -> Delivered:
    if session is None:
        (answer,) = await store.deliver([delivery])
    else:
        (answer,) = await send_in(session, store, [delivery])
    if answer is Delivered.UNKNOWN:
        raise InstanceNotFoundError(f"there is no instance {delivery.instance_id!r}")
    return answer

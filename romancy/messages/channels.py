"""Channels outside of workflows: publishing, and subscribing under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from romancy._message_conditions import where_of
from romancy._microseconds import moment_of
from romancy.channel import Channel, ChannelMember, Message, check_mode, message_of, message_on
from romancy.engine.topics import address_of_all, members_of
from romancy.errors import UsageError
from romancy.messages.subscriptions import Subscription, end_subscription
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from romancy import core
    from romancy.messages.mailer import Mailer
    from romancy.storage.query import FilterValue

__all__ = ["AppChannel"]

T = TypeVar("T")


class AppChannel(Generic[T]):
    """A channel as a program uses it (`app.channel`)."""

    __slots__ = ("_channel", "_mailer")

    def __init__(self, mailer: Mailer, channel: Channel[T]) -> None:
        self._mailer = mailer
        self._channel = channel

    @property
    def name(self) -> str:
        return self._channel.name

    async def publish(
        self,
        data: T,
        *,
        metadata: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        id: str | None = None,
        session: object = None,
    ) -> str:
        """Send a message to the subscribers, and return its id. It is durable when this returns.

        With an `id` of yours, a second message with that id is dropped, so that the call may be repeated. With
        `session=` the commit of your own transaction sends it.
        """
        if id is not None:
            check_id(id, "id of the message")
        message = message_on(
            self._channel, data, metadata, headers, id=id or "", stored=self._mailer.access.stored_size
        )
        sent_id, _ = await self._mailer.send(message, None, session, what="publish")
        return sent_id

    async def send_to(
        self,
        instance_id: str,
        data: T,
        *,
        metadata: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        session: object = None,
    ) -> str:
        """Send a message to one instance, and return its id. It is kept until that instance receives it as `direct`.

        Raises InstanceNotFoundError if there is no such instance, and InstanceEndedError if it has ended.
        """
        check_id(instance_id)
        message = message_on(self._channel, data, metadata, headers, stored=self._mailer.access.stored_size)
        sent_id, _ = await self._mailer.send(message, instance_id, session, what="signal")
        return sent_id

    def subscribe(
        self,
        name: str,
        *,
        mode: Literal["broadcast", "competing"] = "broadcast",
        where: Mapping[str, FilterValue] | None = None,
    ) -> Subscription[Message[T]]:
        """Take part in the channel under a name, in an `async with` block. The subscription outlasts the block.

        Under the same name, the next block (of this process or of another) continues after the last acknowledged
        message. `unsubscribe(name)` ends the subscription. Use a name in one place at a time. `where` excludes messages
        whose data do not meet these conditions, in the form of `app.find_instances`.
        """
        check_mode(mode)
        if mode not in ("broadcast", "competing"):
            raise UsageError("a subscriber outside of workflows has mode 'broadcast' or 'competing'")
        return Subscription(
            self._mailer.access,
            self._channel.topic,
            name,
            mode,
            self._read,
            where_of(where, lambda: self._mailer.access.hides),
        )

    def _read(self, message: core.Message, at: int) -> Message[T]:
        return message_of(self._channel, message, moment_of(at))

    async def unsubscribe(self, name: str) -> None:
        """End the subscription of this name. Unacknowledged messages are dropped; if competing, others get them."""
        await end_subscription(self._mailer.access, self._channel.topic, name)

    async def members(self) -> list[ChannelMember]:
        """The subscribers of the channel, in the order in which they subscribed."""
        interests = await self._mailer.access.opened().services.router.interests(address_of_all(self._channel.topic))
        return [ChannelMember(each.id, each.mode, each.outside) for each in members_of(self._channel.topic, interests)]

    def __repr__(self) -> str:
        return f"<channel {self.name}>"

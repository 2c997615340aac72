"""Channels outside of workflows: publishing, and named subscribers that acknowledge messages."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import msgspec

from romancy.channel import Channel, ChannelMember, Message, check_mode, written
from romancy.core import mode_conflict
from romancy.engine import (
    ChannelMessage,
    decode_message,
    mode_of_interest,
    posted_on_channel,
    stored_size,
    subscription,
    taking,
)
from romancy.engine.announcing import given
from romancy.engine.channels import members_of, prefix_of
from romancy.engine.events import dedupe_of
from romancy.engine.outside.signal_ids import refuse_ended
from romancy.errors import EventTimeoutError, StorageError, StorageUnavailableError, UsageError
from romancy.retry import Duration, seconds
from romancy.serialization import loads
from romancy.storage.limits import check_id
from romancy.storage.records import Delivered
from romancy.storage.routing import OUTSIDE, Letter, Owner, address_of_channel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Literal

    from romancy.engine.announcing import Announcer
    from romancy.hooks import Sending
    from romancy.storage.protocol import Store
    from romancy.storage.routing import Posting

__all__ = ["AppChannel", "ChannelSubscription"]

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_LOOKS_FOR_AN_END: Final = 8
"""After this many reads without a message, a subscriber checks that its subscription still exists."""
_LONGEST_GOODBYE: Final = 5.0
"""Seconds that an outage may last at the end of a block."""
_TAKE: Final = "take"


class ChannelPort:
    """The operations of an app that its channels use."""

    __slots__ = ("announcer", "deliver", "dispatch", "opened", "post", "stamp")

    def __init__(
        self,
        opened: Callable[[], Store],
        stamp: Callable[[], str],
        post: Callable[[Posting, object], Awaitable[Delivered]],
        deliver: Callable[[str, ChannelMessage, object], Awaitable[Delivered]],
        dispatch: Callable[[Iterable[str], object], None],
        announcer: Announcer | None,
    ) -> None:
        self.opened = opened
        self.announcer = announcer
        self.stamp = stamp
        """A new id. The ids of one app sort in the order in which they were made."""
        self.post = post
        """Post a message, perhaps in a caller's transaction, and have it dispatched."""
        self.deliver = deliver
        """Put a message into the inbox of an instance. Raises InstanceNotFoundError."""
        self.dispatch = dispatch
        """Dispatch these addresses soon."""

    def stored_size(self, raw: bytes) -> int:
        """How many bytes are stored for a value."""
        return stored_size(self.opened(), raw)


class AppChannel(Generic[T]):
    """A channel as a program uses it (`app.channel`)."""

    __slots__ = ("_channel", "_port")

    def __init__(self, port: ChannelPort, channel: Channel[T]) -> None:
        self._port = port
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
        stamp = self._port.stamp()
        message, sending = self._announced(self._message(data, metadata, headers, stamp if id is None else id), None)
        dedupe = None if id is None else dedupe_of(address_of_channel(self.name), "", id)
        posting = msgspec.structs.replace(posted_on_channel(message, stamp), dedupe=dedupe)
        self._tell_sent(sending, await self._port.post(posting, session))
        return message.message_id

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
        message, sending = self._announced(
            self._message(data, metadata, headers, self._port.stamp(), direct=True), instance_id
        )
        answer = await self._port.deliver(instance_id, message, session)
        if answer is Delivered.CLOSED:
            await refuse_ended(self._port.opened(), instance_id, self.name, None, what="message of channel")
        self._tell_sent(sending, answer)
        return message.message_id

    def _announced(self, message: ChannelMessage, to: str | None) -> tuple[ChannelMessage, Sending | None]:
        """The message with all its headers, and the sending about which hooks were asked."""
        headers = given(message.headers)
        announcer = self._port.announcer
        sending = None if announcer is None else announcer.sending("message", self.name, to, headers)
        if sending is not None:
            headers = sending.headers
        if headers is message.headers:
            return message, sending
        return msgspec.structs.replace(message, headers=dict(headers)), sending

    def _tell_sent(self, sending: Sending | None, answer: Delivered) -> None:
        if sending is not None and self._port.announcer is not None and answer is Delivered.ACCEPTED:
            self._port.announcer.sent((sending,))

    def subscribe(self, name: str, *, mode: Literal["broadcast", "competing"] = "broadcast") -> ChannelSubscription[T]:
        """Take part in the channel under a name, in an `async with` block. The subscription outlasts the block.

        Under the same name, the next block (of this process or of another) continues after the last acknowledged
        message. `unsubscribe(name)` ends the subscription. Use a name in one place at a time.
        """
        check_mode(mode)
        if mode not in ("broadcast", "competing"):
            raise UsageError("a subscriber outside of workflows has mode 'broadcast' or 'competing'")
        return ChannelSubscription(self._port, self._channel, _owner(self.name, name), mode)

    async def unsubscribe(self, name: str) -> None:
        """End the subscription of this name. Unacknowledged messages are dropped; if competing, others get them."""
        owner, router = _owner(self.name, name), self._port.opened().rooms.router
        await router.unregister(owner, (subscription(self.name, "broadcast").interest_id, _TAKE))
        while letters := await router.letters(owner.name):
            await router.give_back(owner, [letter.letter_id for letter in letters])
        self._port.dispatch((address_of_channel(self.name),), None)

    async def members(self) -> list[ChannelMember]:
        """The subscribers of the channel, in the order in which they subscribed."""
        interests = await self._port.opened().rooms.router.interests(address_of_channel(self.name))
        return [ChannelMember(each.id, each.mode, each.outside) for each in members_of(self.name, interests)]

    def _message(
        self,
        data: T,
        metadata: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        message_id: str,
        *,
        direct: bool = False,
    ) -> ChannelMessage:
        check_id(message_id, "id of the message")
        raw, beside, told = written(self._channel, data, metadata, headers, self._port.stored_size)
        return ChannelMessage(
            channel=self.name, data=raw, message_id=message_id, metadata=beside, headers=told, direct=direct
        )

    def __repr__(self) -> str:
        return f"<channel {self.name}>"


class ChannelSubscription(Generic[T]):
    """The messages of a named subscriber outside of workflows. A message comes again until it is acknowledged."""

    def __init__(self, port: ChannelPort, channel: Channel[T], owner: Owner, mode: str) -> None:
        self._port = port
        self._channel = channel
        self._owner = owner
        self._mode = mode
        self._address = address_of_channel(channel.name)
        self._letters: deque[Letter] = deque()
        """Messages that were read and not returned yet."""
        self._handed: list[str] = []
        """Messages that were returned and are not acknowledged."""
        self._asks = False
        """Whether a competing subscriber has asked for a message and, as far as is known, not got one."""
        self._open = False
        self._receiving = False

    async def __aenter__(self) -> Self:
        if self._open:
            raise UsageError("this subscription is open already; channel.subscribe(name) makes another one")
        interest = subscription(self._channel.name, self._mode)
        in_the_way = await self._port.opened().rooms.router.register(self._owner, interest)
        if in_the_way is not None:
            raise mode_conflict(self._channel.name, mode_of_interest(in_the_way), self._mode)
        self._letters.clear()
        self._handed.clear()
        self._asks, self._open = False, True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Acknowledge the last message, unless an exception leaves the block.

        Raises StorageUnavailableError if the database stays away for some seconds. The message then comes again.
        """
        self._open = False
        try:
            if error is None:
                await self.acknowledge()
            if self._mode == "competing":
                await _insist(self._leave_the_rest_to_others)
        except StorageUnavailableError:
            if error is None:
                raise

    async def _leave_the_rest_to_others(self) -> None:
        router = self._port.opened().rooms.router
        await router.unregister(self._owner, (_TAKE,))
        while letters := await router.letters(self._owner.name):
            await router.give_back(self._owner, [letter.letter_id for letter in letters])
        self._port.dispatch((self._address,), None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[T]:
        return await self.receive()

    async def receive(self, *, timeout: Duration | None = None) -> Message[T]:
        """Acknowledge the message before, and return the next one. Raises EventTimeoutError if none comes in time.

        Waits while the database is away. Raises SerializationError for a message that does not fit the type of the
        channel; the next call goes on. Raises CodecError for one that no codec of this app can open; the next call
        tries again. Raises UsageError if another task receives here, and if `unsubscribe` has ended the subscription.
        """
        if not self._open:
            raise UsageError(
                "receive() is for the inside of the block: `async with channel.subscribe(name) as messages:`, then "
                "`messages.receive()` or `async for message in messages`"
            )
        if self._receiving:
            raise UsageError("another task receives here, and each call acknowledges the message before: use one task")
        limit = None if timeout is None else seconds(timeout, "the timeout")
        self._receiving = True
        try:
            await self._until_there_are_letters(limit)
        finally:
            self._receiving = False
        return self._hand_out()

    async def acknowledge(self) -> None:
        """Forget what was received so far. The next `receive` does it by itself.

        Raises StorageUnavailableError if the database stays away for some seconds.
        """
        await _insist(self._acknowledge)

    async def _acknowledge(self) -> None:
        if handed := tuple(self._handed):
            await self._port.opened().rooms.router.acknowledge(self._owner.name, handed)
            del self._handed[: len(handed)]

    def _hand_out(self) -> Message[T]:
        letter = self._letters.popleft()
        try:
            message = decode_message(letter.body)
        except StorageError:
            self._letters.clear()  # they are read again: the message may be readable then
            raise
        self._handed.append(letter.letter_id)
        if not isinstance(message, ChannelMessage):
            raise UsageError(f"address {letter.address!r} holds a payload that is no message of a channel")
        return _message_of(self._channel, letter, message)

    async def _until_there_are_letters(self, limit: float | None) -> None:
        try:
            async with asyncio.timeout(limit):
                await self._look_again_and_again()
        except TimeoutError:
            try:
                await self._look_a_last_time()
            except StorageUnavailableError:
                pass  # the database was away for the whole time
            if self._handed or not self._letters:
                raise EventTimeoutError(f"no message of channel {self._channel.name!r} came in time") from None

    async def _look_again_and_again(self) -> None:
        pause, looks = _FIRST_PAUSE, 0
        while True:
            try:
                await self._acknowledge()
                if not self._letters:
                    await self._look()
                if self._letters:
                    return
                looks = (looks + 1) % _LOOKS_FOR_AN_END
                if not looks:
                    await self._check_that_it_stands()
            except StorageUnavailableError:
                pause = _LONGEST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _look(self) -> None:
        """Read the letters. A competing subscriber without one asks for a message."""
        router = self._port.opened().rooms.router
        self._letters.extend(await router.letters(self._owner.name))
        if not self._letters and self._mode == "competing" and not self._asks:
            await router.register(self._owner, taking(self._channel.name, _TAKE))
            await router.dispatch((self._address,))
            self._asks = True  # set last: after an outage, both steps are repeated
            self._letters.extend(await router.letters(self._owner.name))
        if self._letters:
            self._asks = False

    async def _look_a_last_time(self) -> None:
        """Stop asking for a message, so that others get the next one. A message that has just come is kept."""
        router = self._port.opened().rooms.router
        await self._acknowledge()
        if not self._letters:
            if self._mode == "competing":
                self._asks = False
                await router.unregister(self._owner, (_TAKE,))
            self._letters.extend(await router.letters(self._owner.name))

    async def _check_that_it_stands(self) -> None:
        interest = subscription(self._channel.name, self._mode)
        if (self._owner, interest) not in await self._port.opened().rooms.router.interests(self._address):
            raise UsageError(
                f"the subscription to channel {self._channel.name!r} was ended by unsubscribe(); open it again to "
                "receive what is published from then on"
            )

    def __repr__(self) -> str:
        return f"<{self._mode} subscription to channel {self._channel.name}>"


def _owner(channel: str, name: str) -> Owner:
    """The owner of a subscriber's interests in the store, which knows names and no channels."""
    check_id(name, "name of the subscriber")
    owner = prefix_of(channel) + name
    check_id(owner, "names of the channel and of its subscriber together")
    return Owner(owner, OUTSIDE)


async def _insist(write: Callable[[], Awaitable[None]]) -> None:
    """Write, and repeat the write during a short outage."""
    loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
    latest = loop.time() + _LONGEST_GOODBYE
    while True:
        try:
            return await write()
        except StorageUnavailableError:
            if loop.time() > latest:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _message_of(channel: Channel[Any], letter: Letter, message: ChannelMessage) -> Message[Any]:
    return Message(
        id=message.message_id,
        channel=message.channel,
        data=loads(message.data, channel.data, f"message of channel {message.channel!r}"),
        metadata=msgspec.json.decode(message.metadata) or {},
        headers=dict(message.headers),
        sender=message.sender or None,
        time=_EPOCH + timedelta(microseconds=letter.at),
    )

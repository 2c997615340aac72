"""Channels as workflows see them: the declaration that all sides share, a received message, and a workflow's calls.

`romancy/messages/channels.py` has channels for programs outside of workflows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, get_args

import msgspec
from msgspec import Raw

from romancy import core
from romancy._headers import headers_of
from romancy._message_conditions import stored_here
from romancy._microseconds import sent_at
from romancy._sizes import fitting, fitting_together
from romancy.core import Mode, kept
from romancy.errors import SerializationError, UsageError
from romancy.retry import Duration, seconds
from romancy.serialization import dumps, loads
from romancy.storage.limits import check_id
from romancy.storage.query import encode_where

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from typing_extensions import TypeForm, TypeVar

    from romancy.core import Commands
    from romancy.storage.query import FilterValue

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "ActivityChannel",
    "Channel",
    "ChannelMember",
    "Message",
    "WorkflowChannel",
    "check_mode",
    "declared",
    "message_of",
    "message_on",
]

_LONGEST_NAME: Final = 200
"""In bytes. An address has room for it."""


class Channel(Generic[T]):
    """The name of a channel and the type of its data, shared by all that use it."""

    __slots__ = ("data", "name")

    def __init__(self, name: str, data: TypeForm[T]) -> None:
        check_name(name)
        self.name = name
        self.data = data

    @property
    def topic(self) -> core.Topic:
        """What its messages are about."""
        return core.Topic(self.name, kind="channel")

    def __repr__(self) -> str:
        return f"Channel({self.name!r})"


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """A message that was received from a channel: its data, read as the declared type, and what came with it.

    `sender` is the id of the instance that sent it, and None if no workflow did. `source` is empty unless a program
    outside gave one. `time` is when the database took it or, in broadcast mode, handed it out.
    """

    id: str
    channel: str
    data: T
    metadata: dict[str, Any]
    headers: dict[str, str]
    sender: str | None
    time: datetime
    source: str = ""


@dataclass(frozen=True, slots=True)
class ChannelMember:
    """A subscriber of a channel: an instance by its id or, outside of workflows, a subscriber by its name."""

    id: str
    mode: str
    outside: bool


def check_name(name: str) -> None:
    """Refuse a name that no address can hold."""
    check_id(name, "name of the channel")
    if len(name.encode()) > _LONGEST_NAME:
        raise UsageError(f"name of the channel: at most {_LONGEST_NAME} bytes of UTF-8 are allowed; use a shorter name")


def check_mode(mode: str) -> None:
    """Refuse a value that is no mode of a subscription."""
    if mode not in get_args(Mode):
        raise UsageError(f"{mode!r} is no mode of a channel: subscribe as 'broadcast', 'competing' or 'direct'")


def declared(channel: Channel[Any] | str, model: Any) -> Channel[Any]:
    """The channel, given as such or by its name and perhaps the type of its data."""
    if isinstance(channel, Channel):
        return channel
    check_name(channel)
    return Channel(channel, model)


def message_on(
    channel: Channel[Any],
    data: object,
    metadata: Mapping[str, object] | None,
    headers: Mapping[str, str] | None,
    *,
    id: str = "",
    stored: Callable[[bytes], int] | None = None,
) -> core.Message:
    """A message as it is sent. Raises SerializationError if the data does not fit the channel."""
    what = f"message of channel {channel.name!r}"
    raw = Raw(fitting(dumps(data, what, channel.data), what, stored))
    beside = core.NULL
    if metadata:
        beside = Raw(dumps(dict(metadata), f"metadata of the {what}"))
        fitting_together(bytes(raw), bytes(beside), f"{what} with its metadata", stored)
    return core.Message(topic=channel.topic, data=raw, id=id, headers=headers_of(headers, f"the {what}"), beside=beside)


def message_of(channel: Channel[Any], message: core.Message, time: datetime) -> Message[Any]:
    """A message as it was received. Raises SerializationError if its data does not fit the channel."""
    return Message(
        id=message.id,
        channel=message.topic.name,
        data=loads(message.data, channel.data, f"message of channel {message.topic.name!r}"),
        metadata=msgspec.json.decode(message.beside) or {},
        headers=dict(message.headers),
        sender=message.sender or None,
        time=time,
        source=message.source,
    )


class ActivityChannel(Generic[T]):
    """A channel as an activity uses it (`activity_context().channel`)."""

    __slots__ = ("_channel", "_send")

    def __init__(self, send: Callable[[core.Message, str | None], Awaitable[str]], channel: Channel[T]) -> None:
        self._send = send
        self._channel = channel

    @property
    def name(self) -> str:
        return self._channel.name

    async def publish(
        self, data: T, *, metadata: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """Send a message to the subscribers together with the activity's completion, and return its id."""
        return await self._send(message_on(self._channel, data, metadata, headers), None)

    async def send_to(
        self,
        instance_id: str,
        data: T,
        *,
        metadata: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send a message to one instance together with the activity's completion, and return its id.

        If there is no such instance, or it has ended, the message is gone.
        """
        check_id(instance_id)
        return await self._send(message_on(self._channel, data, metadata, headers), instance_id)

    def __repr__(self) -> str:
        return f"<channel {self.name}>"


class WorkflowChannel(Generic[T]):
    """A channel as a workflow uses it (`ctx.channel`)."""

    __slots__ = ("_channel", "_commands", "_topic")

    def __init__(self, commands: Commands, channel: Channel[T]) -> None:
        self._commands = commands
        self._channel = channel
        self._topic = channel.topic

    @property
    def name(self) -> str:
        return self._channel.name

    @kept("channel")
    async def subscribe(self, mode: Literal["broadcast", "competing", "direct"] = "broadcast") -> None:
        """Subscribe, and return when the database holds the subscription. Subscribing again changes nothing.

        In `broadcast` mode the instance gets every message that is published from now on. In `competing` mode each
        message goes to one of the subscribers, and waits for one if there is none. In `direct` mode `receive` gets what
        is sent to this instance alone. Raises ChannelModeConflictError, and changes nothing, if the channel has
        subscribers in the other one of the first two modes.
        """
        check_mode(mode)
        await _joined(self._commands.subscribe(self._topic, mode))

    @kept("channel")
    async def unsubscribe(self) -> None:
        """End the subscription, if there is one. Broadcast messages that were not received are dropped."""
        answer = self._commands.joining_of(self._topic)
        if answer is not None:
            await asyncio.wait([answer])
        self._commands.unsubscribe(self._topic)

    @kept("channel")
    async def members(self) -> list[ChannelMember]:
        """The subscribers of the channel, in the order in which they subscribed. A replay gets the same list.

        They are those at a moment between this call and its answer: others may come and go meanwhile, and afterwards.
        Raises UsageError if they are so many that their ids do not fit into the log (a megabyte).
        """
        found = await self._commands.members(self._topic)
        return [ChannelMember(each.id, each.mode, each.outside) for each in found]

    @kept("channel")
    async def receive(
        self,
        *,
        timeout: Duration | None = None,
        direct: bool = False,
        where: Mapping[str, FilterValue] | None = None,
    ) -> Message[T]:
        """The next message. Raises EventTimeoutError if none comes in time; the subscription stays.

        `where` leaves messages whose data do not meet these conditions, in the form of `app.find_instances`, to the
        next call without them or, in `competing` mode, to other subscribers.

        With `direct=True` it is the next message that was sent to this instance by `send_to`, which needs no
        subscription. Such a message is kept until it is asked for. Raises UsageError without a subscription, and when
        another task of the workflow ends the subscription meanwhile.
        """
        limit = None if timeout is None else seconds(timeout, "the timeout")
        conditions = encode_where(where)
        if not direct:
            await _joined(self._commands.rejoining_of(self._topic))  # a retry may be refused what its failed run had
        mode: Mode | None = "direct" if direct else self._commands.mode_of(self._topic)
        if mode is None:
            raise UsageError(
                f"the workflow has not subscribed to channel {self.name!r} and would wait in vain: `await "
                "channel.subscribe()` first, or receive(direct=True) messages for this instance alone"
            )
        stored = stored_here(conditions, self._commands)
        wait = self._commands.wait(self._topic, mode, timeout=limit, where=stored)
        while True:
            received: core.MessageReceived = await wait
            message = received.message
            try:
                time = sent_at(received.at, message.time, message.words)
                return message_of(self._channel, message, time)
            except SerializationError as misfit:
                again = self._commands.wait_on(wait, message, str(misfit))
                if again is None:
                    raise
                wait = again

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[T]:
        return await self.receive()

    @kept("channel")
    async def publish(
        self, data: T, *, metadata: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """Send a message to the subscribers once this step is durable, and return its id. A replay sends nothing."""
        return self._commands.send(message_on(self._channel, data, metadata, headers))

    @kept("channel")
    async def send_to(
        self,
        instance_id: str,
        data: T,
        *,
        metadata: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send a message to one instance once this step is durable, and return its id.

        It is kept until that instance receives it with `direct=True`, or in direct mode. If there is no such instance,
        or it has ended, the message is gone.
        """
        check_id(instance_id)
        return self._commands.send(message_on(self._channel, data, metadata, headers), instance_id)

    def __repr__(self) -> str:
        return f"<channel {self.name} of {self._commands.instance_id}>"


async def _joined(answer: asyncio.Future[Any] | None) -> None:
    """Wait for the database's answer to a subscription."""
    if answer is not None:
        answer.add_done_callback(_noticed)
        await asyncio.shield(answer)


def _noticed(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()

"""The events of channels. The rules of `_events` hold: changes only add."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Raw, Struct

from romancy.core._events import NULL, Command, Input

__all__ = [
    "ChannelAsked",
    "ChannelAwaited",
    "ChannelJoined",
    "ChannelLeft",
    "ChannelMembersAsked",
    "ChannelMembersListed",
    "ChannelReceived",
    "ChannelRefused",
    "ChannelSent",
    "Listed",
    "Mode",
]

Mode: TypeAlias = Literal["broadcast", "competing", "direct"]


class ChannelJoined(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The database holds the subscription that `id` asked for."""

    id: str


class ChannelRefused(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The channel has subscribers of another mode, `existing`. The subscription was refused."""

    id: str
    existing: str


class ChannelReceived(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """A message of a channel for the wait `id`. `metadata` is what the sender wrote beside the data."""

    id: str
    channel: str
    data: Raw = NULL
    message_id: str = ""
    sender: str = ""
    metadata: Raw = NULL
    headers: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    time: int | None = None


class Listed(Struct, frozen=True, omit_defaults=True, gc=False):
    """A subscriber of a channel: an instance by its id, or a subscriber outside by its name."""

    id: str
    mode: str
    outside: bool = False


class ChannelMembersListed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The subscribers of the channel when the database was asked for `id`, in the order in which they subscribed.

    `too_many`: they are so many, and do not fit into the log.
    """

    id: str
    members: tuple[Listed, ...] = ()
    too_many: int = 0


class ChannelAsked(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow subscribes to a channel. A direct subscription is granted at once: it needs no database."""

    id: str
    channel: str
    mode: Mode


class ChannelMembersAsked(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow asks who has subscribed to the channel."""

    id: str
    channel: str


class ChannelLeft(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow gives up its subscription, and with it the broadcast messages that it has not received."""

    channel: str
    mode: Mode


class ChannelAwaited(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow waits for a message of the channel, until `due` if there is one."""

    id: str
    channel: str
    mode: Mode
    due: int | None = None


class ChannelSent(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow sent a message over a channel, to its subscribers or to the instance `to`.

    It is sent once this is durable. `again`: a former run had sent it.
    """

    id: str
    channel: str
    message_id: str
    data: Raw
    metadata: Raw = NULL
    headers: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    to: str | None = None
    again: bool = False

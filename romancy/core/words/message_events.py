"""The events of messages: subscriptions, waits, and what was received and sent. The rules of `events.py` hold."""

from __future__ import annotations

from msgspec import Raw, Struct

from romancy.core.words.events import Command, Input
from romancy.core.words.messages import NULL, Inquiry, Message, Mode, Topic
from romancy.serialization import ErrorInfo

__all__ = [
    "Listed",
    "MembersAsked",
    "MembersListed",
    "MessageAwaited",
    "MessagePutAside",
    "MessageReceived",
    "MessageSent",
    "RequestAnswered",
    "RequestRefused",
    "Subscribed",
    "SubscriptionGranted",
    "SubscriptionRefused",
    "Unsubscribed",
    "WaitCancelled",
    "WaitTimedOut",
]


class Subscribed(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """From here on the messages about the topic reach the instance, whether it waits for one at that moment or not.

    A channel in a mode that others may exclude is asked for: `SubscriptionGranted` or `SubscriptionRefused` follows.
    Any other subscription holds with the commit of this event.
    """

    id: str
    topic: Topic
    mode: Mode = "broadcast"


class SubscriptionGranted(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The database holds the subscription that `id` asked for."""

    id: str


class SubscriptionRefused(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The channel has subscribers of another mode, `existing`. The subscription was refused."""

    id: str
    existing: str


class Unsubscribed(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow gives up its subscription, and with it the copies that it has not received."""

    topic: Topic
    mode: Mode = "broadcast"


class MessageAwaited(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow waits for a message about the topic, until `due` if there is one.

    `where`: stored conditions that its data must meet. The append that holds this event also registers the interest
    that has messages brought to the wait. `in_turn`: the workflow waits again as soon as the message has come, so
    messages that came behind it, for whatever wait, come behind what is next for this one. `judged`: the body is asked
    about a message before it is recorded, and may refuse it. `asks`: people are asked for the message.
    """

    id: str
    topic: Topic
    mode: Mode = "broadcast"
    due: int | None = None
    where: Raw = NULL
    in_turn: bool = False
    judged: bool = False
    asks: Inquiry | None = None


class MessageReceived(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """A message for the wait `id`."""

    id: str
    message: Message


class WaitTimedOut(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """No message came for the wait `id` before it was due."""

    id: str


class WaitCancelled(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow stopped waiting."""

    id: str


class MessagePutAside(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The message that the wait `id` received does not fit the declared type. Another wait replaces this one."""

    id: str
    topic: Topic
    message_id: str = ""
    reason: str = ""


class MessageSent(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow body sent a message: to the instance `to`, or to those that wait for its topic.

    It is sent once this is durable. `again`: a former run had sent it.
    """

    id: str
    message: Message
    to: str = ""
    again: bool = False
    chosen: bool = False
    """Whether the workflow chose the message's id."""


class RequestAnswered(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The answer to the request `name` whose message has this id: a reply, or the error that its handler raised.

    `refused`: its data does not fit the declared type. `again`: a former run has answered it, and that answer counts.
    """

    id: str
    name: str
    reply: Raw = NULL
    error: ErrorInfo | None = None
    refused: bool = False
    again: bool = False


class RequestRefused(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The body has refused the request `name` whose message has this id. The message itself is not recorded."""

    id: str
    name: str
    error: ErrorInfo


class Listed(Struct, frozen=True, omit_defaults=True, gc=False):
    """A subscriber of a topic: an instance by its id, or a subscriber outside by its name."""

    id: str
    mode: str
    outside: bool = False


class MembersAsked(Command, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The workflow asks who has subscribed to the topic."""

    id: str
    topic: Topic


class MembersListed(Input, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The subscribers of the topic when the database was asked for `id`, in the order in which they subscribed.

    `too_many`: they are so many, and do not fit into the log.
    """

    id: str
    members: tuple[Listed, ...] = ()
    too_many: int = 0

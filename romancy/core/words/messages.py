"""Messages between workflows and from outside: what they are about, and how an instance takes part.

Signals, events and channels are messages about a topic. These records stand in the log, and a message crosses the
database as it is.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

__all__ = [
    "NULL", "Inquiry", "Message", "Mode", "Said", "Subscription", "Topic", "may_be_refused", "mode_of_wait", "said_in",
]  # fmt: skip

NULL: Final = Raw(b"null")
Mode: TypeAlias = Literal["broadcast", "competing", "direct"]
"""`broadcast`: everybody gets a copy. `competing`: one of those that wait gets it. `direct`: this instance alone."""


class Topic(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a message is about. Events, channels, requests and questions may have the same name.

    Only events have keys, and questions, whose key is the secret of the token.
    """

    name: str
    key: str | None = None
    kind: Literal["event", "channel", "request", "question"] = "event"

    @property
    def words(self) -> str:
        """The topic for people."""
        return f"{self.kind} {self.name!r}"


class Subscription(Struct, frozen=True, omit_defaults=True, gc=False):
    """A topic to which an instance has subscribed."""

    topic: Topic
    mode: Mode = "broadcast"


class Message(Struct, frozen=True, tag_field="type", tag="message", omit_defaults=True, gc=False):
    """A message about a topic. `beside`: the metadata of a channel's message, or the extensions of a CloudEvent."""

    topic: Topic
    data: Raw
    id: str = ""
    source: str = ""
    """Where it comes from, in the words of who sent it."""
    sender: str = ""
    """The id of the instance that sent it. Empty: the sender is no workflow."""
    subject: str | None = None
    time: int | None = None
    headers: dict[str, str] = {}
    beside: Raw = NULL

    @property
    def words(self) -> str:
        """The message for people, without its data."""
        return f"message of {self.topic.words}" if self.topic.kind == "channel" else self.topic.words


class Inquiry(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a wait asks people, until `due`, and the JSON schema of the answer. `to`: whom, as the workflow says.

    `aside`: how many answers were put aside, because they did not fit the type. `misfit`: why the last of them was.
    """

    question: str
    schema: Raw = NULL
    to: str | None = None
    due: int | None = None
    aside: int = 0
    misfit: str = ""


class Said(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a message to a question says: an answer, a refusal with its reason, or that the time is over."""

    how: Literal["answer", "refusal", "expiry"] = "answer"
    data: Raw = NULL
    reason: str = ""
    by: str | None = None
    """Who says it, in the words of the sender."""


_said: Final = msgspec.json.Decoder(Said)


def said_in(message: Message) -> Said:
    """What a message to a question says."""
    return _said.decode(message.data)


def mode_of_wait(topic: Topic) -> Mode:
    """The mode of a wait for an event: one wait gets a message for its key, all waits without a key get a copy.

    A request is sent to the instance, and so is the answer to a question.
    """
    if topic.kind in ("request", "question"):
        return "direct"
    return "broadcast" if topic.key is None else "competing"


def may_be_refused(topic: Topic, mode: Mode) -> bool:
    """Whether the database must be asked for a subscription: a channel has subscribers of one mode only."""
    return topic.kind == "channel" and mode != "direct"

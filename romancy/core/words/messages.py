"""Messages between workflows and from outside: what they are about, and how an instance takes part.

Signals, events and channels are messages about a topic. These records stand in the log, and a message crosses the
database as it is.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Raw, Struct

__all__ = ["NULL", "Message", "Mode", "Subscription", "Topic", "may_be_refused", "mode_of_wait"]

NULL: Final = Raw(b"null")
Mode: TypeAlias = Literal["broadcast", "competing", "direct"]
"""`broadcast`: everybody gets a copy. `competing`: one of those that wait gets it. `direct`: this instance alone."""


class Topic(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a message is about. Events, channels and requests may have the same name. Only events have keys."""

    name: str
    key: str | None = None
    kind: Literal["event", "channel", "request"] = "event"

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


def mode_of_wait(topic: Topic) -> Mode:
    """The mode of a wait for an event: one wait gets a message for its key, all waits without a key get a copy.

    A request is sent to the instance.
    """
    if topic.kind == "request":
        return "direct"
    return "broadcast" if topic.key is None else "competing"


def may_be_refused(topic: Topic, mode: Mode) -> bool:
    """Whether the database must be asked for a subscription: a channel has subscribers of one mode only."""
    return topic.kind == "channel" and mode != "direct"

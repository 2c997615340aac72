"""Turns messages into postings and deliveries."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from romancy.engine.messages import encode_message
from romancy.engine.topics import address_of, address_of_all
from romancy.storage.query import project
from romancy.storage.records import Delivery
from romancy.storage.routing import Place, Posting, Spread

if TYPE_CHECKING:
    from romancy.core import Message, MessageSent

__all__ = ["dedupe_of", "delivery_of", "posting_of", "repeats", "sent_by"]


def sent_by(sent: MessageSent, stamp: str) -> Delivery | Posting:
    """What carries a message that a workflow sends: a delivery to an instance, or a posting."""
    if sent.to:
        return delivery_of(sent.message, sent.to, stamp, chosen=sent.chosen)
    return posting_of(sent.message, stamp, chosen=sent.chosen)


def posting_of(message: Message, message_id: str, *, chosen: bool) -> Posting:
    """The posting of a message to those that wait for its topic, or have subscribed to it.

    An event goes to one wait for its key, if it has a key, and to all waits for its type. `chosen`: the sender chose
    the id, and a repetition must be recognised.
    """
    topic = message.topic
    everybody = Place(address_of_all(topic), Spread.CHANNEL if topic.kind == "channel" else Spread.EVERY)
    places = (everybody,) if topic.key is None else (Place(address_of(topic), Spread.ONE), everybody)
    return Posting(
        message_id=message_id,
        places=places,
        body=encode_message(message),
        projection=project(bytes(message.data)),
        dedupe=dedupe_of(message) if chosen else None,
    )


def delivery_of(message: Message, instance_id: str, delivery_id: str, *, chosen: bool) -> Delivery:
    """The delivery of a message to one instance, whose present life remembers a chosen id."""
    dedupe = dedupe_of(message) if chosen else None
    return Delivery(instance_id=instance_id, delivery_id=delivery_id, body=encode_message(message), dedupe=dedupe)


def dedupe_of(message: Message) -> str:
    """A key of bounded length by which the database recognises a message that is sent again.

    It is made of the kind and the name of the topic, the source and the id, whatever the key and the data.
    """
    parts = (message.topic.kind, message.topic.name, message.source, message.id)
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def repeats(message: Message, other: Message) -> bool:
    """Whether two messages have what `dedupe_of` is made of: one is the other, sent again."""
    one, two = message.topic, other.topic
    return (one.kind, one.name, message.source, message.id) == (two.kind, two.name, other.source, other.id)

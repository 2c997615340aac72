"""Turns events into postings and deliveries."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from romancy.engine.messages import Signal, encode_message
from romancy.storage.query import project
from romancy.storage.records import Delivery
from romancy.storage.routing import Place, Posting, Spread, address_of_key, address_of_type

if TYPE_CHECKING:
    from romancy._outgoing import OutgoingEvent
    from romancy.core import MessageSent

__all__ = ["dedupe_of", "dedupe_of_event", "delivery_of", "posting_of", "sent_by_workflow", "signal_of"]


def posting_of(signal: Signal, message_id: str, *, chosen: bool) -> Posting:
    """The posting of an event: to one wait for its key, if it has a key, and to all waits for its type.

    `chosen`: the sender chose the id, and a repetition must be recognised. Its type remembers it, whatever the key.
    """
    places: tuple[Place, ...] = (Place(address_of_type(signal.name), Spread.EVERY),)
    if signal.key is not None:
        places = (Place(address_of_key(signal.name, signal.key), Spread.ONE), *places)
    return Posting(
        message_id=message_id,
        places=places,
        body=encode_message(signal),
        projection=project(bytes(signal.data)),
        dedupe=dedupe_of_event(signal) if chosen else None,
    )


def delivery_of(signal: Signal, instance_id: str, delivery_id: str, *, chosen: bool) -> Delivery:
    """The delivery of an event to one instance, whose present life remembers a chosen id."""
    dedupe = dedupe_of_event(signal) if chosen else None
    return Delivery(instance_id=instance_id, delivery_id=delivery_id, body=encode_message(signal), dedupe=dedupe)


def sent_by_workflow(sent: MessageSent) -> Signal:
    """The message of an event that a workflow sent."""
    return Signal(
        name=sent.name,
        data=sent.data,
        key=sent.key,
        event_id=sent.event_id,
        source=sent.source,
        subject=sent.subject,
        headers=sent.headers,
    )


def signal_of(event: OutgoingEvent, event_id: str) -> Signal:
    """The message of an event. It has this id unless its sender chose one."""
    return Signal(
        name=event.name,
        data=event.data,
        key=event.key,
        event_id=event.id or event_id,
        source=event.source,
        subject=event.subject,
        time=event.time,
        headers=event.headers,
        extensions=event.extensions,
    )


def dedupe_of_event(signal: Signal) -> str:
    """The key of an event whose sender chose the id."""
    return dedupe_of(address_of_type(signal.name), signal.source, signal.event_id)


def dedupe_of(topic: str, source: str, id: str) -> str:
    """A key of bounded length by which a message is recognised that is sent again.

    The address of the topic remembers it, or the instance to which the message is sent, a place for all topics.
    """
    return hashlib.sha256(f"{len(topic)}:{topic}{len(source)}:{source}{id}".encode()).hexdigest()

"""Events on their way: what is posted for one that is not sent to an instance."""

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

__all__ = ["dedupe_of", "delivery_of", "posting_of", "sent_by_workflow", "signal_of"]


def posting_of(signal: Signal, message_id: str, *, chosen: bool) -> Posting:
    """The posting of an event: for one that waits for its key, if it has one, and for all that listen to its type.

    `chosen`: its id is the sender's own, and the same one again is to be recognised.
    """
    places: tuple[Place, ...] = (Place(address_of_type(signal.name), Spread.EVERY),)
    if signal.key is not None:
        places = (Place(address_of_key(signal.name, signal.key), Spread.ONE), *places)
    return Posting(
        message_id=message_id,
        places=places,
        body=encode_message(signal),
        projection=project(bytes(signal.data)),
        dedupe=dedupe_of(signal.source, signal.event_id) if chosen else None,
    )


def delivery_of(signal: Signal, instance_id: str, delivery_id: str, *, chosen: bool) -> Delivery:
    """The same for an event that a workflow or an activity sends to one instance.

    Its append does not read the receiver. So an id is remembered for the name of the instance, not for each life.
    """
    dedupe = dedupe_of(f"{len(instance_id)}:{instance_id}:{signal.source}", signal.event_id) if chosen else None
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
    """The message of an event, which gets this id unless its sender chose one."""
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


def dedupe_of(source: str, id: str) -> str:
    """What identifies an event that is sent again: a key of bounded length."""
    return "event-" + hashlib.sha256(f"{len(source)}:{source}:{id}".encode()).hexdigest()

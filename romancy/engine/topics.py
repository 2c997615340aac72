"""What the database knows of topics: where their messages are posted, and the interests of those that take part."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from romancy.core import NULL, Listed, Topic
from romancy.engine.questions import interest_of_question
from romancy.storage.limits import MAX_ID_BYTES
from romancy.storage.routing import (
    OUTSIDE,
    Interest,
    InterestKind,
    address_of_channel,
    address_of_key,
    address_of_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.core import MessageAwaited, Mode, Subscription
    from romancy.storage.routing import Owner

__all__ = [
    "address_of",
    "address_of_all",
    "interest_id_of",
    "interest_of_subscription",
    "interest_of_wait",
    "members_of",
    "mode_of_interest",
    "prefix_of",
    "registered_at_once",
    "taking",
]

_LONGEST_IN_PREFIX: Final = 150
"""In bytes. A longer name of a type of events is told by its hash."""
_KINDS: Final = {"broadcast": InterestKind.COPY, "competing": InterestKind.MEMBER}
_MODES: Final = {kind: mode for mode, kind in _KINDS.items()}


def address_of(topic: Topic) -> str:
    """The address of a topic: that of its key, if it has one."""
    return address_of_all(topic) if topic.key is None else address_of_key(topic.name, topic.key)


def address_of_all(topic: Topic) -> str:
    """The address of a topic whatever the key."""
    return address_of_channel(topic.name) if topic.kind == "channel" else address_of_type(topic.name)


def interest_id_of(wait_id: str) -> str:
    """The id of a wait's own interest: the id of the wait, if a row can hold it."""
    if len(wait_id) * 4 <= MAX_ID_BYTES or len(wait_id.encode()) <= MAX_ID_BYTES:
        return wait_id
    return hashlib.sha256(wait_id.encode()).hexdigest()


def interest_of_subscription(topic: Topic, mode: Mode) -> Interest:
    """The interest that a subscription is. An owner has one for each topic.

    All waits for a type of events without a key share that of a subscription to the type.
    """
    if topic.kind == "channel":
        return Interest(interest_id=f"{topic.name}/c", address=address_of_channel(topic.name), kind=_KINDS[mode])
    interest_id = interest_id_of(f"{topic.name}/*")
    return Interest(interest_id=interest_id, address=address_of_type(topic.name), kind=InterestKind.COPY)


def interest_of_wait(wait: MessageAwaited) -> Interest | None:
    """The interest that a wait needs. None: what it waits for is sent to the instance, or comes by a subscription.

    That of a question has it found by those who are asked.
    """
    if wait.asks is not None:
        return interest_of_question(wait, wait.asks)
    topic, where = wait.topic, wait.where
    if topic.kind != "event" and wait.mode != "competing":
        return None
    conditions = None if where == NULL else bytes(where)
    if wait.mode == "competing":
        return taking(topic, interest_id_of(wait.id), conditions)
    if conditions is None:
        return interest_of_subscription(topic, "broadcast")
    return Interest(
        interest_id=interest_id_of(wait.id), address=address_of(topic), kind=InterestKind.COPY, where=conditions
    )


def taking(topic: Topic, interest_id: str, where: bytes | None = None) -> Interest:
    """The interest of one who asks for the next message, which nobody else gets."""
    return Interest(interest_id=interest_id, address=address_of(topic), kind=InterestKind.TAKE, where=where)


def registered_at_once(subscriptions: Iterable[Subscription]) -> tuple[Interest, ...]:
    """The interests of those of these subscriptions that nobody can refuse."""
    return tuple(interest_of_subscription(one.topic, one.mode) for one in subscriptions if one.topic.kind == "event")


def mode_of_interest(kind: InterestKind) -> str:
    """The mode of the subscriptions that are interests of this kind."""
    return _MODES.get(kind, kind.value)


def prefix_of(topic: Topic) -> str:
    """What the names of the subscribers outside begin with in the store, which knows names and no topics.

    The name of a type of events may be so long that it would leave no room for the subscriber's.
    """
    if topic.kind == "channel":
        return f"{len(topic.name)}/{topic.name}/"
    long = len(topic.name.encode()) > _LONGEST_IN_PREFIX
    return f"e{len(topic.name)}/{hashlib.sha256(topic.name.encode()).hexdigest() if long else topic.name}/"


def members_of(topic: Topic, interests: Iterable[tuple[Owner, Interest]]) -> list[Listed]:
    """The subscribers among the interests at the address of a topic. A competing one that asks has two there."""
    prefix = prefix_of(topic)
    return [
        Listed(owner.name.removeprefix(prefix), mode_of_interest(interest.kind), outside=True)
        if owner.life == OUTSIDE
        else Listed(owner.name, mode_of_interest(interest.kind))
        for owner, interest in interests
        if interest.kind is not InterestKind.TAKE
    ]

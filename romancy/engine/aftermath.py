"""What remains to be done for the receivers of an append once it is in the log.

The messages that it posts are dispatched. The receivers of those that it sends to single instances are looked at: an
append does not read them, and the database drops a message to an instance that has ended or is not there. Such a
message is logged with its sender, and kept where `undelivered` lists it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from romancy._logs import about, get_logger
from romancy.core import Message, MessageReceived
from romancy.engine.messages import decode_message, is_from_a_user
from romancy.engine.replay import history
from romancy.engine.sending import repeats
from romancy.errors import InstanceNotFoundError, StorageError, StorageUnavailableError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.any_store import lying_in
from romancy.storage.records import Delivered, Delivery, Step
from romancy.storage.routing import InterestKind, Place, Posting, Spread, address_of_instance
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.core import LogEvent
    from romancy.engine.instance import Live
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InstanceRow

__all__ = ["Aftermath", "Sent", "aftermath_of", "look_after"]

logger = get_logger("romancy.engine")

_MOST: Final = 10_000
"""How many messages in the inbox of an ended receiver are looked at."""


class Aftermath(Struct, frozen=True, gc=False):
    """What an append leaves to be done."""

    addresses: Sequence[str]
    """To be dispatched: the append posts there, or registers an interest there."""
    sent: Sequence[Delivery]
    """Messages to single instances."""


def aftermath_of(item: Step | Append) -> Aftermath | None:
    """What remains to be done after this append, if anything.

    A new interest in a type needs no dispatch: no message is kept there, and a sender dispatches what it posts.
    """
    if isinstance(item, Step) or not (item.postings or item.interests or item.deliveries):
        return None
    places: list[str] = []
    for posting in item.postings:
        places += [place.address for place in posting.places]
    for one in item.interests:
        if one.kind is InterestKind.TAKE:
            places.append(one.address)
    sent = [one for one in item.deliveries if is_from_a_user(one.body)] if item.deliveries else ()
    return Aftermath(places, sent) if places or sent else None


class Sent(NamedTuple):
    """Messages that one append of an instance has sent to single instances."""

    live: Live
    seq: int
    deliveries: Sequence[Delivery]


async def look_after(store: Store, sent: Sequence[Sent]) -> None:
    """Keep and log the messages whose receivers had ended. May be repeated: each is kept and logged once.

    A store without a router keeps none, and the log says so.
    """
    rows: dict[str, InstanceRow | None] = {}
    for one in sent:
        for delivery in one.deliveries:
            receiver = delivery.instance_id
            if receiver not in rows:
                found = await store.read(receiver, limit=0)
                rows[receiver] = None if found is None else found.instance
            row = rows[receiver]
            if row is None or (row.status in TERMINAL_STATUSES and await _came_too_late(store, one, delivery, row)):
                await _keep(store, one.live, delivery, row)


async def _keep(store: Store, live: Live, one: Delivery, row: InstanceRow | None) -> None:
    place = Place(address_of_instance(one.instance_id), Spread.ONE)
    keeps = Service.ROUTER in store.services.offered
    if keeps:
        (answer,) = await store.services.router.post(
            [Posting(message_id=one.delivery_id, places=(place,), body=one.body)]
        )
        if answer is not Delivered.ACCEPTED:
            return
    message = decode_message(one.body)
    what = message.words if isinstance(message, Message) else "message"
    logger.warning(
        "instance %s: the %s that it has sent to instance %s was not delivered: that instance %s; %s",
        live.instance_id, what, one.instance_id, "does not exist" if row is None else f"has ended ({row.status})",
        "`romancy undelivered` lists it" if keeps else "it is lost, because this database's adapter has no router",
        extra=about(live),
    )  # fmt: skip


async def _came_too_late(store: Store, sent: Sent, one: Delivery, row: InstanceRow) -> bool:
    """Whether the instance had ended when the message was sent. It may have received it, or left it unread."""
    async for lying in lying_in(store, row.instance_id, most=_MOST):
        if lying.row.delivery_id == one.delivery_id:
            return False
    if one.dedupe is None and await _time_of(store, sent) > row.updated_at:
        return True
    return not await _was_received(store, row, one)


async def _time_of(store: Store, sent: Sent) -> int:
    """When the append was committed, by the database's clock; 0 if that is no longer known."""
    page = await store.read(sent.live.instance_id, after=sent.seq - 1, limit=1)
    rows = () if page is None or page.instance.life != sent.live.life else page.rows
    return rows[0].at if rows and rows[0].seq == sent.seq else 0


async def _was_received(store: Store, row: InstanceRow, one: Delivery) -> bool:
    """Whether the log of the instance says that it received the message; False if the log cannot be read."""
    message = decode_message(one.body)
    try:
        async for _, commit in history(store, row.instance_id, life=row.life):
            if any(_receives(event, message) for event in commit):
                return True
    except StorageUnavailableError:
        raise
    except (StorageError, InstanceNotFoundError):
        return False
    return False


def _receives(event: LogEvent, message: object) -> bool:
    return isinstance(message, Message) and isinstance(event, MessageReceived) and repeats(event.message, message)

"""Explains a refused transaction: reads the deciding rows, and finds the outcome of each item and each delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from romancy.status import TERMINAL_STATUSES
from romancy.storage.records import Append, Delivered, Outcome, Start
from romancy_mysql._sql import Raw, comma, source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from romancy.storage.records import Delivery, Item
    from romancy.storage.routing import Posting
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer
    from romancy_mysql._sql import Statement

__all__ = ["Facts", "look", "on_delivery", "on_item", "on_posting", "settled"]

_SHARED = Raw(b"lock in share mode")
_PLAIN = Raw(b"")


class Facts(Struct):
    """The deciding rows, as they were read.

    Instances were read before log rows. So the instances never show a transaction whose log rows are missed.
    """

    alive: set[str]
    instances: dict[str, tuple[int, str, int]]
    """Life, status and signals by instance id."""
    log: dict[tuple[str, int, int], str]
    """Writers by place in the log."""
    inbox: set[tuple[str, str]]
    seen: set[str]
    posted: set[tuple[str, str]]
    """Messages that are kept, by address and id."""


async def look(
    database: Database,
    send: Callable[[Sequence[Statement]], Awaitable[list[Answer]]],
    items: Sequence[Item],
    deliveries: Sequence[Delivery],
    postings: Sequence[Posting] = (),
    *,
    worker: str | None = None,
    locking: bool = False,
) -> Facts:
    """Read the rows that decide about these items, deliveries and postings, in one round trip.

    `locking` reads the newest rows if the transaction's own snapshot may be old (REPEATABLE READ).
    """
    appends = [item for item in items if isinstance(item, Append)]
    starts = [item for item in items if isinstance(item, Start)] + [one for item in appends for one in item.starts]
    tokens = {token for token in (worker, *(start.owner for start in starts)) if token is not None}
    targets = {item.instance_id for item in (*items, *starts, *deliveries)}
    log = {(item.instance_id, item.life, seq) for item in appends for seq in (item.seq - 1, item.seq)}
    log |= {(start.instance_id, start.life, 1) for start in starts}
    mail = {(item.instance_id, one) for item in appends for one in item.consumed}
    mail |= {(one.instance_id, one.delivery_id) for one in deliveries}
    dedupes = [*(one.dedupe for one in deliveries), *(one.dedupe for one in postings)]
    keys = {key for key in dedupes if key is not None}
    places = {(place.address, one.message_id) for one in postings for place in one.places}
    lock = _SHARED if locking else _PLAIN
    wanted: dict[str, Statement] = {}
    for name, ids in (("look_workers", tokens), ("look_instances", targets), ("look_seen", keys)):
        if ids:
            wanted[name] = database.statement(name, ids=comma(sorted(ids)), lock=lock)
    if log:
        parameters = source(("instance_id", "life", "seq"), sorted(log))
        wanted["look_log"] = database["look_log"].statement(parameters, lock=lock)
    if mail:
        parameters = source(("instance_id", "delivery_id"), sorted(mail))
        wanted["look_inbox"] = database["look_inbox"].statement(parameters, lock=lock)
    if places:
        parameters = source(("address", "message_id"), sorted(places))
        wanted["look_messages"] = database["look_messages"].statement(parameters, lock=lock)
    answers = dict(zip(wanted, await send(list(wanted.values())), strict=True))
    return _facts({name: answer.rows for name, answer in answers.items()})


def _facts(rows: dict[str, tuple[tuple[Any, ...], ...]]) -> Facts:
    return Facts(
        alive={token.decode() for (token,) in rows.get("look_workers", ())},
        instances={
            one.decode(): (life, status.decode(), signals)
            for one, life, status, signals in rows.get("look_instances", ())
        },
        log={(one.decode(), life, seq): writer.decode() for one, life, seq, writer in rows.get("look_log", ())},
        inbox={(one.decode(), delivery.decode()) for one, delivery in rows.get("look_inbox", ())},
        seen={key.decode() for (key,) in rows.get("look_seen", ())},
        posted={(address.decode(), one.decode()) for address, one in rows.get("look_messages", ())},
    )


def on_item(item: Item, facts: Facts, worker: str | None) -> Outcome | None:
    """The outcome of an item. None: nothing prevents it, or no longer does."""
    if isinstance(item, Start):
        return _on_start(item, facts)
    writer = facts.log.get((item.instance_id, item.life, item.seq))
    if writer is not None:
        return Outcome.ACCEPTED if writer == item.writer else Outcome.TAKEN
    if worker not in facts.alive:
        return Outcome.DEAD
    if item.behind not in (None, facts.log.get((item.instance_id, item.life, item.seq - 1))):
        return Outcome.LOST if item.behind else Outcome.ENDED
    if any(_on_start(start, facts) not in (None, Outcome.ACCEPTED) for start in item.starts):
        return Outcome.EXISTS
    return _on_change(item, facts)


def _on_start(start: Start, facts: Facts) -> Outcome | None:
    writer = facts.log.get((start.instance_id, start.life, 1))
    if writer is not None:
        return Outcome.ACCEPTED if writer == start.writer else Outcome.EXISTS
    if start.instance_id in facts.instances:
        return Outcome.EXISTS
    return Outcome.DEAD if start.owner is not None and start.owner not in facts.alive else None


def _on_change(item: Append, facts: Facts) -> Outcome | None:
    if item.change is not None:
        life, status, signals = facts.instances.get(item.instance_id, (None, "", 0))
        if life != item.life:
            return Outcome.GONE
        if status in TERMINAL_STATUSES and not item.change.reopens:
            return Outcome.ENDED
        if item.change.status in TERMINAL_STATUSES and signals != item.change.seen:
            return Outcome.UNSEEN
    if any((item.instance_id, one) not in facts.inbox for one in item.consumed):
        return Outcome.GONE
    return None


def on_delivery(delivery: Delivery, facts: Facts) -> Delivered | None:
    """The outcome of a delivery. None: nothing prevents it, or no longer does."""
    _, status, _ = facts.instances.get(delivery.instance_id, (0, None, 0))
    if status is None:
        return Delivered.UNKNOWN
    if status in TERMINAL_STATUSES:
        return Delivered.CLOSED
    if delivery.dedupe is not None and delivery.dedupe in facts.seen:
        return Delivered.DUPLICATE
    if (delivery.instance_id, delivery.delivery_id) in facts.inbox:
        return Delivered.DUPLICATE
    return None


def on_posting(posting: Posting, facts: Facts) -> Delivered | None:
    """The outcome of a posting. None: nothing prevents it, or no longer does."""
    known = posting.dedupe is not None and posting.dedupe in facts.seen
    kept = any((place.address, posting.message_id) in facts.posted for place in posting.places)
    return Delivered.DUPLICATE if known or kept else None


def settled(facts: Facts, deliveries: Iterable[Delivery], postings: Iterable[Posting]) -> frozenset[object]:
    """The messages that are settled already, which is no reason to refuse their item."""
    mail = (one for one in deliveries if on_delivery(one, facts) is not None)
    return frozenset(mail) | frozenset(one for one in postings if on_posting(one, facts) is not None)

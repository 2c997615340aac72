"""Explains a refused transaction: reads the deciding rows of many items at once, and asks for each one's verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from romancy.storage import verdicts
from romancy.storage.records import Outcome, Step
from romancy.storage.steps import as_append
from romancy_mysql._sql import Raw, comma, source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from romancy.storage.records import Append, Delivered, Delivery, Item
    from romancy.storage.routing import Posting
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer
    from romancy_mysql._sql import Statement

__all__ = [
    "Earlier",
    "Facts",
    "born_of",
    "done_already",
    "lives_of",
    "look",
    "on_delivery",
    "on_item",
    "on_posting",
    "settled",
    "started",
]

_SHARED = Raw(b"lock in share mode")
_EXCLUSIVE = Raw(b"for update")
"""Where there are no shared locks."""
_PLAIN = Raw(b"")


class Facts(Struct):
    """The deciding rows, as they were read.

    Instances were read before log rows. So the instances never show a transaction whose log rows are missed.
    """

    alive: set[str]
    instances: dict[str, tuple[int, str, int, bool]]
    """Life, status, signals and whether it has an owner, by instance id."""
    log: dict[tuple[str, int, int], str]
    """Writers by place in the log."""
    inbox: set[tuple[str, str]]
    seen: set[tuple[str, int, str]]
    """Dedupe keys by the instance and its life, or by the address and 0."""
    posted: set[tuple[str, str]]
    """Messages that are kept, by address and id."""


class Earlier(NamedTuple):
    """What a session finds before it writes an append."""

    done: frozenset[object]
    """The messages and starts that are there already."""
    lives: dict[str, int]
    """The lives of the receivers."""


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
    appends = [as_append(item) if isinstance(item, Step) else item for item in items]
    starts = [one for item in appends for one in item.starts]
    owners = [item.create.owner for item in appends if item.create is not None]
    tokens = {token for token in (worker, *owners) if token is not None}
    targets = {item.instance_id for item in (*items, *starts, *deliveries)}
    log = {
        (item.instance_id, item.life, seq) for item in (*appends, *starts) for seq in (item.seq - 1, item.seq) if seq
    }
    mail = {(item.instance_id, one) for item in appends for one in item.consumed}
    mail |= {(one.instance_id, one.delivery_id) for one in deliveries}
    keys = {(one.topic, one.dedupe) for one in postings if one.dedupe is not None}
    inside = {(one.instance_id, one.dedupe) for one in deliveries if one.dedupe is not None}
    places = {(place.address, one.message_id) for one in postings for place in one.places}
    lock = _PLAIN if not locking else _SHARED if database.engine.shared_locks else _EXCLUSIVE
    wanted: dict[str, Statement] = {}
    for name, ids in (("look_workers", tokens), ("look_instances", targets)):
        if ids:
            wanted[name] = database.statement(name, ids=comma(sorted(ids)), lock=lock)
    for name, seen in (("look_seen", keys), ("look_seen_inside", inside)):
        if seen:
            wanted[name] = database[name].statement(source(("unit", "dedupe"), sorted(seen)), lock=lock)
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
            one.decode(): (life, status.decode(), signals, bool(owned))
            for one, life, status, signals, owned in rows.get("look_instances", ())
        },
        log={(one.decode(), life, seq): writer.decode() for one, life, seq, writer in rows.get("look_log", ())},
        inbox={(one.decode(), delivery.decode()) for one, delivery in rows.get("look_inbox", ())},
        seen={
            (unit.decode(), life, key.decode())
            for name in ("look_seen", "look_seen_inside")
            for unit, life, key in rows.get(name, ())
        },
        posted={(address.decode(), one.decode()) for address, one in rows.get("look_messages", ())},
    )


def on_item(item: Item, facts: Facts, worker: str | None) -> Outcome | None:
    """The outcome of an item. None: nothing prevents it, or no longer does."""
    if isinstance(item, Step):
        return verdicts.on_place(item, _place_facts(item, facts, worker))
    place = _place_facts(item, facts, worker) if item.create is None else _first_facts(item, facts)
    return verdicts.on_append(item, place, _effect_facts(item, facts))


def _place_facts(item: Step | Append, facts: Facts, worker: str | None) -> verdicts.PlaceFacts:
    return verdicts.PlaceFacts(
        writer=facts.log.get((item.instance_id, item.life, item.seq)),
        before=facts.log.get((item.instance_id, item.life, item.seq - 1)),
        alive=worker in facts.alive,
    )


def _effect_facts(item: Append, facts: Facts) -> verdicts.EffectFacts:
    return verdicts.EffectFacts(
        starts=tuple([_first_facts(start, facts) for start in item.starts]),
        row=_row(item.instance_id, facts),
        missing=any((item.instance_id, one) not in facts.inbox for one in item.consumed),
    )


def _row(instance_id: str, facts: Facts) -> verdicts.RowFacts | None:
    held = facts.instances.get(instance_id)
    if held is None:
        return None
    return verdicts.RowFacts(life=held[0], status=held[1], signals=held[2], owned=held[3])


def _first_facts(item: Append, facts: Facts) -> verdicts.FirstFacts:
    return verdicts.FirstFacts(
        held=_row(item.instance_id, facts),
        first=facts.log.get((item.instance_id, item.life, 1)),
        alive=item.create is not None and item.create.owner in facts.alive,
    )


def on_delivery(delivery: Delivery, facts: Facts) -> Delivered | None:
    """The outcome of a delivery. None: nothing prevents it, or no longer does."""
    life, status, *_ = facts.instances.get(delivery.instance_id, (0, None, 0, False))
    known = (delivery.instance_id, life, delivery.dedupe) in facts.seen
    known = known or (delivery.instance_id, delivery.delivery_id) in facts.inbox
    return verdicts.on_delivery(status, known=known)


def on_posting(posting: Posting, facts: Facts) -> Delivered | None:
    """The outcome of a posting. None: nothing prevents it, or no longer does."""
    kept = any((place.address, posting.message_id) in facts.posted for place in posting.places)
    return verdicts.on_posting(known=kept or (posting.topic, 0, posting.dedupe) in facts.seen)


def settled(
    facts: Facts, deliveries: Iterable[Delivery], postings: Iterable[Posting], born: frozenset[str]
) -> frozenset[object]:
    """The messages that are settled already, which is no reason to refuse their item.

    Whatever has the ids in `born` now, their instances are created together with these messages, and know none.
    """
    mail = (one for one in deliveries if one.instance_id not in born and on_delivery(one, facts) is not None)
    return frozenset(mail) | frozenset(one for one in postings if on_posting(one, facts) is not None)


def born_of(appends: Iterable[Append]) -> frozenset[str]:
    """The instances that these appends create, and their children."""
    return frozenset(one.instance_id for item in appends for one in (item, *item.starts) if one.create is not None)


def started(facts: Facts, starts: Iterable[Append]) -> frozenset[str]:
    """The ids of those starts that an earlier copy of them has already written."""
    return frozenset(one.instance_id for one in starts if on_item(one, facts, None) is Outcome.ACCEPTED)


async def done_already(
    database: Database,
    send: Callable[[Sequence[Statement]], Awaitable[list[Answer]]],
    item: Item,
    *,
    locking: bool = False,
) -> Earlier:
    """What an append in a session brings and an earlier copy has written, which is no reason to refuse it."""
    if isinstance(item, Step) or not (item.starts or item.deliveries or item.postings):
        return Earlier(frozenset(), {})
    facts = await look(database, send, item.starts, item.deliveries, item.postings, locking=locking)
    there = started(facts, item.starts)
    done = there | settled(facts, item.deliveries, item.postings, born_of([item]) - there)
    return Earlier(done, lives_of(facts))


def lives_of(facts: Facts) -> dict[str, int]:
    """The lives of the instances that were found."""
    return {instance_id: life for instance_id, (life, *_) in facts.instances.items()}

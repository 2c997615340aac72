"""Writes items, deliveries and takeovers inside one transaction: the promises of the protocol, in plain Python.

Statements follow the order of locks that every store keeps: log keys, instances, inbox, outbox, the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.status import TERMINAL_STATUSES
from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.mail import UNCOUNTED
from romancy.storage.memory._outbox import queue_outgoing
from romancy.storage.memory._posted import (
    drop_interest,
    give_back_mail,
    interests_of,
    key_of,
    post_message,
    put_interest,
)
from romancy.storage.memory._rows import Instance, Numbered, after_change, after_delivery, after_takeover, started
from romancy.storage.records import LATEST, Append, Delivered, InboxRow, LogRow, Outcome, Start, Step
from romancy.storage.routing import Owner
from romancy.storage.verdicts import (
    EffectFacts,
    PlaceFacts,
    RowFacts,
    StartFacts,
    on_delivery,
    on_effects,
    on_place,
    on_start,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from romancy.status import Status
    from romancy.storage.memory._database import Database, Key, Transaction
    from romancy.storage.records import Change, Delivery, Item

__all__ = [
    "alive",
    "clear",
    "deliver",
    "free",
    "head_of",
    "number_mail",
    "short_log",
    "uncounted_of",
    "write_item",
]


def alive(tx: Transaction, worker: str | None) -> bool:
    """Whether this worker's row exists and is not marked dead."""
    row = tx.get("workers", (worker,))
    return row is not None and not row.dead


def head_of(database: Database, row: Instance) -> int:
    """The last committed seq of this life's log."""
    log = database.tables["log"]
    seq = row.last_seq
    while (row.instance_id, row.life, seq + 1) in log:
        seq += 1
    return seq


def short_log(database: Database, row: Instance, head: int) -> tuple[bytes, ...]:
    """The bodies of the current run's log up to `head` if they are few and short; else empty."""
    log = database.tables["log"]
    if head - row.run_from >= SHORT_LOG_COMMITS:
        return ()
    bodies = tuple(log[row.instance_id, row.life, seq].body for seq in range(row.run_from, head + 1))
    return bodies if all(len(body) <= SHORT_COMMIT_BYTES for body in bodies) else ()


async def write_item(
    tx: Transaction, database: Database, item: Item, worker: str | None, *, session: bool = False
) -> Outcome:
    """Write one item and return the outcome. The caller commits on ACCEPTED and rolls back otherwise."""
    if not _storable(item):
        return Outcome.INVALID
    if isinstance(item, Start):
        facts = await _start_facts(tx, item, "start")
        verdict = on_start(item, facts)
        if verdict is None:
            await _insert_start(tx, database, item)
        return verdict or Outcome.ACCEPTED
    await tx.step("append.log")
    key = (item.instance_id, item.life, item.seq)
    held: LogRow | None = await tx.lock("log", key)
    before: LogRow | None = tx.get("log", (item.instance_id, item.life, item.seq - 1))
    place = PlaceFacts(writer=_writer(held), before=_writer(before), alive=alive(tx, worker))
    verdict = on_place(item, place)
    if verdict is not None:
        return verdict
    tx.put("log", key, LogRow(item.seq, item.writer, item.body, database.now()))
    return Outcome.ACCEPTED if isinstance(item, Step) else await _write_effects(tx, database, item, session=session)


def _writer(row: LogRow | None) -> str | None:
    return None if row is None else row.writer


def _storable(item: Item) -> bool:
    """Whether the item's numbers fit a column of 64 bits, as in every database."""
    if isinstance(item, Step):
        numbers = [item.life, item.seq]
    elif isinstance(item, Start):
        numbers = [item.life, item.delay or 0]
    else:
        change = item.change
        changed = [] if change is None else [change.seen, change.wake_at or 0, change.run_from or 0]
        numbers = [item.life, item.seq, *changed, *(start.life for start in item.starts)]
    return all(-(2**63) <= number < 2**63 for number in numbers)


async def _write_effects(tx: Transaction, database: Database, item: Append, *, session: bool) -> Outcome:
    starts = tuple([await _start_facts(tx, start, "append.start") for start in item.starts]) if item.starts else ()
    targets = () if session else (delivery.instance_id for delivery in item.deliveries)
    for instance_id in sorted({item.instance_id, *targets}):
        await tx.lock("instances", (instance_id,))
    row: Instance | None = tx.get("instances", (item.instance_id,))
    facts = None if row is None else RowFacts(life=row.life, status=row.status, signals=row.signals)
    if item.change is not None:
        await tx.step("append.change")
    await tx.step("append.effects")
    taken = [(item.instance_id, delivery_id) for delivery_id in dict.fromkeys(item.consumed)] if item.consumed else []
    missing = False
    for key in taken:
        missing |= await tx.lock("inbox", key) is None
    verdict = on_effects(item, EffectFacts(starts=starts, row=facts, missing=missing))
    if verdict is not None:
        return verdict
    for start, found in zip(item.starts, starts, strict=True):
        if on_start(start, found) is None:
            await _insert_start(tx, database, start)
    if item.change is not None and row is not None:
        _change(tx, database, item, item.change, row)
    for key in taken:
        tx.put("inbox", key, None)
    await queue_outgoing(tx, database, item.outbox)
    for delivery in item.deliveries:
        await deliver(tx, database, delivery, wake=not session)
    await _write_routes(tx, database, item)
    return Outcome.ACCEPTED


async def _write_routes(tx: Transaction, database: Database, item: Append) -> None:
    if not item.routes:
        return
    await tx.step("append.routes")
    owner = Owner(item.instance_id, item.life)
    for interest in sorted(item.interests, key=lambda one: one.interest_id):
        await put_interest(tx, database, owner, interest)
    for interest_id in sorted(set(item.uninterested)):
        await drop_interest(tx, key_of(owner, interest_id))
    for posting in item.postings:
        await post_message(tx, database, posting)


def _change(tx: Transaction, database: Database, item: Append, change: Change, row: Instance) -> None:
    changed = after_change(row, item, change, database.now())
    tx.put("instances", (item.instance_id,), changed)
    if changed.owner is None:
        tx.touched.add(item.instance_id)


async def _start_facts(tx: Transaction, start: Start, statement: str) -> StartFacts:
    """What a start finds. It holds the lock on its id afterwards."""
    await tx.step(statement)
    held: Instance | None = await tx.lock("instances", (start.instance_id,))
    first: LogRow | None = tx.get("log", (start.instance_id, start.life, 1))
    return StartFacts(taken=held is not None, first=_writer(first), alive=alive(tx, start.owner))


async def _insert_start(tx: Transaction, database: Database, start: Start) -> None:
    now = database.now()
    first = (start.instance_id, start.life, 1)
    tx.put("instances", (start.instance_id,), started(start, now))
    await tx.lock("log", first)
    tx.put("log", first, LogRow(1, start.writer, start.body, now))
    if start.owner is None:
        tx.touched.add(start.instance_id)


async def deliver(tx: Transaction, database: Database, delivery: Delivery, *, wake: bool = True) -> Delivered:
    """Put one message into its inbox. The counter moves last: a reader that sees it moved also sees the row."""
    key = (delivery.instance_id, delivery.delivery_id)
    verdict = on_delivery(_status(tx.get("instances", (delivery.instance_id,))), known=False)
    if verdict is not None:
        return verdict
    await tx.step("deliver.inbox")
    mark = tx.mark()
    known = not await _insert_mail(tx, database, delivery)
    if wake and not known:
        await tx.step("deliver.signal")
        await tx.lock("instances", (delivery.instance_id,))
    row: Instance | None = tx.get("instances", (delivery.instance_id,))
    verdict = on_delivery(_status(row), known=known)
    if verdict is not None:
        tx.rewind(mark)
    elif wake and row is not None:
        counted = after_delivery(row, database.now())
        tx.put("instances", (delivery.instance_id,), counted)
        tx.put("inbox", key, replace(tx.get("inbox", key), number=counted.signals))
        tx.touched.add(delivery.instance_id)
    return verdict or Delivered.ACCEPTED


def _status(row: Instance | None) -> Status | None:
    return None if row is None else row.status


async def _insert_mail(tx: Transaction, database: Database, delivery: Delivery) -> bool:
    """Insert a message, or return False if it is known."""
    if delivery.dedupe is not None:
        if await tx.lock("seen", (delivery.dedupe,)) is not None:
            return False
        tx.put("seen", (delivery.dedupe,), database.now())
    key = (delivery.instance_id, delivery.delivery_id)
    if await tx.lock("inbox", key) is not None:
        return False
    tx.put("inbox", key, Numbered(InboxRow(delivery.delivery_id, delivery.body, database.now())))
    return True


def uncounted_of(tx: Transaction, instance_id: str, before: int = LATEST) -> list[Key]:
    """The keys of an instance's messages that its counter does not cover, of those that are older than this time."""
    return [
        key
        for key, mail in tx.scan("inbox")
        if key[0] == instance_id and mail.number == UNCOUNTED and mail.row.at < before
    ]


def number_mail(tx: Transaction, keys: Iterable[Key], number: int) -> None:
    """Number messages whose counter has just moved. A row that another transaction holds is being consumed."""
    for key in keys:
        if tx.try_lock("inbox", key):
            tx.put("inbox", key, replace(tx.get("inbox", key), number=number))


async def clear(tx: Transaction, instance_id: str, life: int, statuses: Collection[Status]) -> bool:
    """Remove an ended instance of this life and one of these statuses, with all data under its id."""
    await tx.step("clear")
    row: Instance | None = await tx.lock("instances", (instance_id,))
    if row is None or row.life != life or row.status not in TERMINAL_STATUSES.intersection(statuses):
        return False
    for key in interests_of(tx, instance_id):
        await drop_interest(tx, key)
    await tx.step("clear.mail")
    await give_back_mail(tx, [key for key, _ in tx.scan("inbox") if key[0] == instance_id])
    for table in ("log", "inbox"):
        for key in [key for key, _ in tx.scan(table) if key[0] == instance_id]:
            await tx.lock(table, key)
            tx.put(table, key, None)
    tx.put("instances", (instance_id,), None)
    return True


async def free(tx: Transaction, database: Database, row: Instance, dead: str, body: bytes, writer: str) -> bool:
    """Append `body` to the log of a dead worker's instance and free it. False: its rows are locked, try again later."""
    head = head_of(database, row)
    while True:
        await tx.step("takeover.log")
        key = (row.instance_id, row.life, head + 1)
        if not tx.try_lock("log", key):
            return False
        if tx.get("log", key) is None:
            break
        head += 1
    tx.put("log", (row.instance_id, row.life, head + 1), LogRow(head + 1, writer, body, database.now()))
    await tx.step("takeover.instance")
    now_held: Instance | None = await tx.lock("instances", (row.instance_id,))
    if now_held is None or now_held.owner != dead or now_held.life != row.life:
        return False
    tx.put("instances", (row.instance_id,), after_takeover(now_held, head + 1, database.now()))
    tx.touched.add(row.instance_id)
    return True

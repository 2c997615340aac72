"""Writes items inside one transaction: log rows, and everything that depends on their acceptance.

The transaction holds the write lock from its beginning, so a guard that was read stays true until COMMIT. Inserting the
log row tests the fence. An item that is refused after that is undone, alone or with its transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.columns import GIVEN, given
from romancy.storage.creation import due_at, fresh
from romancy.storage.query import path_key
from romancy.storage.records import Append, Outcome, Step
from romancy.storage.routing import Owner
from romancy.storage.verdicts import (
    EffectFacts,
    FirstFacts,
    PlaceFacts,
    RowFacts,
    on_effects,
    on_first,
    on_place,
)
from romancy_sqlite._bulk import divided, index_paths, projection_text, write_in_bulk
from romancy_sqlite._connection import UndoError
from romancy_sqlite._errors import is_item_fault
from romancy_sqlite._inbox import deliver_one
from romancy_sqlite._outbox import queue_outgoing
from romancy_sqlite._places import full_for
from romancy_sqlite._prune import remove
from romancy_sqlite._routes import leave_lanes, weight_of_posts, write_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Change, Create, Item
    from romancy_sqlite._connection import Tx

__all__ = ["row_of", "weight_of", "write_items", "write_lone"]

_ACCEPTED: Final = Outcome.ACCEPTED
"""Python 3.11 calls a function for each `Outcome.ACCEPTED`."""


class _RefusedError(Exception):
    """A guard other than the fence refused an item after its log row was written."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def weight_of(batch: Sequence[Item]) -> int:
    """The approximate number of pages that a batch writes."""
    weight = len(batch)
    for item in batch:
        weight += len(item.body) >> 11
        if type(item) is not Step:
            weight += 5
            if item.interests:
                weight += 3 * len(item.interests)
            if item.postings:
                weight += weight_of_posts(item.postings)
    return weight


def row_of(item: Step | Append, at: int, worker: str | None) -> tuple[object, ...]:
    """The parameters of `append_log`."""
    instance_id, life, seq, behind = item.instance_id, item.life, item.seq, item.behind
    body = bytearray(item.body)  # the driver asks its adapters for bytes
    return (instance_id, life, seq, worker, behind, instance_id, life, seq - 1, behind, item.writer, body, at)


def write_items(tx: Tx, batch: Sequence[Item], worker: str | None) -> list[Outcome]:
    """Write each item and return one outcome per item, in order."""
    for one in batch:
        if type(one) is Append and one.create is not None and one.interests:
            if full := full_for(tx, batch):
                return _write_others(tx, batch, worker, full)
            break
    if tx.careful:
        return _write_carefully(tx, batch, worker)
    bulk, others = divided(batch)
    if len(batch) - len(others) <= 1:  # a lone item is written with fewer statements
        return [_hopefully(tx, item, worker) for item in batch]
    try:
        write_in_bulk(tx, bulk, worker)
        leave_lanes(tx, bulk.appends)
    except Exception as error:
        if not is_item_fault(error):
            raise
        raise UndoError from error
    if not others:
        return [_ACCEPTED] * len(batch)
    outcomes = {item.instance_id: _hopefully(tx, item, worker) for item in others}
    return [outcomes.get(item.instance_id, _ACCEPTED) for item in batch]


def _write_others(tx: Tx, batch: Sequence[Item], worker: str | None, full: frozenset[str]) -> list[Outcome]:
    """Write all items but those for which there is no place."""
    outcomes = iter(write_items(tx, [one for one in batch if one.instance_id not in full], worker))
    return [Outcome.FULL if one.instance_id in full else next(outcomes) for one in batch]


def write_lone(tx: Tx, item: Item, worker: str | None) -> Outcome:
    """Write one item that is alone in its transaction."""
    if type(item) is Append and item.create is not None and item.interests and full_for(tx, (item,)):
        return Outcome.FULL
    return write_alone(tx, item, worker)


def _write_carefully(tx: Tx, batch: Sequence[Item], worker: str | None) -> list[Outcome]:
    steps = [item for item in batch if type(item) is Step]
    outcomes = _write_steps(tx, steps, worker) if steps else {}
    for item in batch:
        if item.instance_id not in outcomes:
            outcomes[item.instance_id] = _guarded(tx, item, worker)
    return [outcomes[item.instance_id] for item in batch]


def _write_steps(tx: Tx, steps: list[Step], worker: str | None) -> dict[str, Outcome]:
    """Write all steps by one prepared statement. Only after a refusal look for the reasons."""
    rows = [row_of(step, tx.now, worker) for step in steps]
    try:
        if tx.many("append_log", rows) == len(steps):
            return dict.fromkeys([step.instance_id for step in steps], _ACCEPTED)
    except Exception as error:
        if not is_item_fault(error):
            raise
        # Rows before the faulty one are written. Each step is tried again alone, and recognises its own nonce.
        return {step.instance_id: _guarded(tx, step, worker) for step in steps}
    return {step.instance_id: _fenced_off(tx, step, worker) for step in steps}


def write_alone(tx: Tx, item: Item, worker: str | None) -> Outcome:
    """Write one item that has the transaction to itself. Raises if the transaction must be undone."""
    if type(item) is Append and item.create is not None:
        return _write_first(tx, item, item.create)
    return _write_append(tx, item, worker)


def _guarded(tx: Tx, item: Item, worker: str | None) -> Outcome:
    """Write one item. If a guard or the database refuses it, undo this item alone."""
    tx.run("item_begin")
    try:
        outcome = write_alone(tx, item, worker)
    except _RefusedError as refused:
        tx.run("item_undo")
        outcome = refused.outcome
    except Exception as error:
        if not is_item_fault(error):
            raise
        tx.run("item_undo")
        outcome = Outcome.INVALID
    tx.run("item_end")
    return outcome


def _hopefully(tx: Tx, item: Item, worker: str | None) -> Outcome:
    """Write one item without a savepoint, which is rarely needed and would be half of the cost."""
    try:
        return write_alone(tx, item, worker)
    except _RefusedError as refused:
        raise UndoError from refused
    except Exception as error:
        if not is_item_fault(error):
            raise
        raise UndoError from error


def _fenced_off(tx: Tx, item: Step | Append, worker: str | None) -> Outcome:
    """The reason why no row was written for this append, or ACCEPTED if an earlier copy of it is there."""
    place = (item.instance_id, item.life, item.seq, item.instance_id, item.life, item.seq - 1, worker)
    ((writer, before, alive),) = tx.rows("place_facts", place)
    verdict = on_place(item, PlaceFacts(writer=writer, before=before, alive=bool(alive)))
    return verdict or Outcome.LOCKED


def _write_append(tx: Tx, item: Step | Append, worker: str | None) -> Outcome:
    if not tx.run("append_log", row_of(item, tx.now, worker)):
        return _fenced_off(tx, item, worker)
    if isinstance(item, Step):
        return _ACCEPTED
    facts = _effect_facts(tx, item)
    verdict = on_effects(item, facts)
    if verdict is not None:
        raise _RefusedError(verdict)
    if item.change is not None:
        _apply_change(tx, item, item.change)
    _write_effects(tx, item, facts)
    return _ACCEPTED


def _write_first(tx: Tx, item: Append, create: Create) -> Outcome:
    """Create an instance, with everything that its first append carries."""
    verdict = on_first(item, _first_facts(tx, item, create))
    if verdict is not None:
        return verdict
    facts = EffectFacts(starts=_starts_facts(tx, item))
    verdict = on_effects(item, facts)
    if verdict is not None:
        return verdict
    if create.replaces is not None:
        remove(tx, item.instance_id)
    _insert_first(tx, item, create)
    _write_effects(tx, item, facts)
    return _ACCEPTED


def _write_effects(tx: Tx, item: Append, facts: EffectFacts) -> None:
    for start, found in zip(item.starts, facts.starts, strict=True):
        if start.create is not None and on_first(start, found) is None:
            _insert_first(tx, start, start.create)
    if item.consumed:
        tx.many("inbox_consume", [(item.instance_id, delivery_id) for delivery_id in item.consumed])
    if item.outbox:
        queue_outgoing(tx, item.outbox)
    for delivery in item.deliveries:
        deliver_one(tx, delivery)
    if item.routes:
        write_routes(tx, item, Owner(item.instance_id, item.life))


def _effect_facts(tx: Tx, item: Append) -> EffectFacts:
    """What the effects find, read before they are written: the transaction holds the write lock."""
    held = () if item.change is None else tx.rows("instance_guard", (item.instance_id,))
    missing = False
    for delivery_id in item.consumed:
        missing = missing or not tx.rows("inbox_has", (item.instance_id, delivery_id))
    return EffectFacts(
        starts=_starts_facts(tx, item) if item.starts else (),
        row=_row_facts(*held[0]) if held else None,
        missing=missing,
    )


def _row_facts(life: int, signals: int, status: str, owned: int) -> RowFacts:
    return RowFacts(life=life, status=status, signals=signals, owned=bool(owned))


def _starts_facts(tx: Tx, item: Append) -> tuple[FirstFacts, ...]:
    starts = [(start, start.create) for start in item.starts]
    return tuple([_first_facts(tx, start, create) for start, create in starts if create is not None])


def _first_facts(tx: Tx, item: Append, create: Create) -> FirstFacts:
    asked = {"instance_id": item.instance_id, "life": item.life, "owner": create.owner}
    ((life, status, first, alive),) = tx.rows("first_facts", asked)
    held = None if life is None else RowFacts(life=life, status=status)
    return FirstFacts(held=held, first=first, alive=bool(alive))


def _insert_first(tx: Tx, item: Append, create: Create) -> None:
    tx.run("start_log", (item.instance_id, item.life, item.writer, item.body, tx.now))
    row = fresh(item, create)
    tx.run(
        "start_instance",
        {
            "instance_id": item.instance_id,
            "life": item.life,
            "status": row.status,
            "owner": create.owner,
            "wake_at": row.wake_at if row.delay is None else due_at(row.wake_at, row.delay, tx.now),
            "now": tx.now,
            "error": row.error,
            "parent": create.parent,
            "index_paths": index_paths(create.index),
            "input": create.input,
            "projection": projection_text(create.projection),
            **dict(zip(GIVEN, given(create), strict=True)),
        },
    )
    _insert_index(tx, item.instance_id, create.workflow_name, tx.now, create.index)
    if create.owner is None:
        tx.touched.add(item.instance_id)


def _apply_change(tx: Tx, item: Append, change: Change) -> None:
    ends = change.status in TERMINAL_STATUSES or change.status is Status.STUCK
    tx.run(
        "change_instance",
        {
            "instance_id": item.instance_id,
            "status": change.status.value,
            "seen": change.seen,
            "releases": change.release or ends,
            "may_wake": change.release and not ends,
            "wake_at": change.wake_at,
            "error": change.error,
            "code": change.code,
            "seq": item.seq,
            "now": tx.now,
        },
    )
    if change.forgive:
        tx.run("refuse", ("[]", item.instance_id))
    if change.refused_by is not None:
        _add_refusal(tx, item.instance_id, change.refused_by)
    if change.run_from is not None:
        _begin_run(tx, item.instance_id, change)
    if change.release or ends:
        tx.touched.add(item.instance_id)


def _add_refusal(tx: Tx, instance_id: str, code: str) -> None:
    held = tx.row("refused", (instance_id,))
    refused = set(msgspec.json.decode(held[0], type=list[str])) if held is not None else set[str]()
    text = msgspec.json.encode(sorted(refused | {code})).decode()
    tx.run("refuse", (text, instance_id))


def _begin_run(tx: Tx, instance_id: str, change: Change) -> None:
    """Begin a run. In queries, its input takes the place of the old one."""
    tx.run(
        "begin_run",
        {
            "instance_id": instance_id,
            "run_from": change.run_from,
            "input": change.input,
            "projection": projection_text(change.projection),
            "index_paths": index_paths(change.index) if change.index is not None else None,
        },
    )
    if change.index is not None:
        (workflow_name, created_at) = tx.rows("searched", (instance_id,))[0]
        tx.run("index_clear", (instance_id,))
        _insert_index(tx, instance_id, workflow_name, created_at, change.index)


def _insert_index(
    tx: Tx, instance_id: str, workflow_name: str, created_at: int, index: tuple[tuple[str, str | None], ...]
) -> None:
    tx.run("index_set", (workflow_name, index_paths(index)))
    rows = [(path_key(path), value, created_at, instance_id) for path, value in index if value is not None]
    if rows:
        tx.many("index_insert", rows)

"""Writes many items by a few long statements, assuming that none of them is refused.

Written row by row, this thread would wait for the interpreter lock after each row while the event loop works. Only the
items of nearly every batch are written here: steps, changes of status, starts. If a count shows a refusal, the
transaction is undone and `_commit` writes it again item by item, which finds the refused item and the reason.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.admission import head_start
from romancy.storage.columns import given
from romancy.storage.creation import due_at, fresh
from romancy.storage.query import path_key
from romancy.storage.records import Append, Step
from romancy.storage.routing import is_mark
from romancy_sqlite._connection import UndoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from romancy.storage.records import Change, Create, Item
    from romancy_sqlite._connection import Tx

__all__ = ["Bulk", "append_logs", "divided", "index_paths", "interest_rows", "projection_text", "write_in_bulk"]

T = TypeVar("T")

_SIZES: Final = (2, 4, 8, 16, 24, 32, 48, 64, 128, 256)
"""The numbers of rows for which statements exist, so each is compiled once. Spare rows have no id.

Compiling one costs as much for each row as half of a write, so a larger batch takes several statements.

Bytes and nulls are bound as bytearrays and zeros where that is the same: the driver first asks its adapters for
everything but texts, integers and bytearrays.
"""


class Bulk(NamedTuple):
    """Items that are written in bulk, by their kinds."""

    steps: list[Step]
    appends: list[Append]
    """Those that at most change the instance's row and give places back. `_routes` writes the latter."""
    firsts: list[tuple[Append, Create]]
    """Those that create an instance, which at most listens."""


def divided(batch: Sequence[Item]) -> tuple[Bulk, list[Append]]:
    """The items that are written in bulk, and the others."""
    bulk = Bulk([item for item in batch if type(item) is Step], [], [])
    others: list[Append] = []
    if len(bulk.steps) == len(batch):
        return bulk, others
    for item in batch:
        if type(item) is not Append:
            continue
        create = item.create
        if not _is_common(item, create):
            others.append(item)
        elif create is None:
            bulk.appends.append(item)
        else:
            bulk.firsts.append((item, create))
    return bulk, others


def _is_common(item: Append, create: Create | None) -> bool:
    change = item.change
    if change is not None and (change.refused_by is not None or change.run_from is not None or change.forgive):
        return False
    if item.consumed or item.outbox or item.deliveries or item.starts:
        return False
    if item.uninterested or item.postings:
        return create is None and not item.interests and all(map(is_mark, item.postings))
    return not item.interests if create is None else create.replaces is None


def write_in_bulk(tx: Tx, bulk: Bulk, worker: str | None) -> None:
    """Write all items. Raises UndoError if any of them would be refused."""
    steps, appends, firsts = bulk
    items: list[Step | Append] = [*steps, *appends]
    for logged in _parts(items):
        _demand(tx.run_text(*append_logs(tx.text("append_logs"), logged, tx.now, worker)), len(logged))
    changes = [(item, item.change) for item in appends if item.change is not None]
    if changes:
        _change(tx, changes)
    if firsts:
        _create(tx, firsts)


def append_logs(sql: str, items: Sequence[Step | Append], at: int, worker: str | None) -> tuple[str, list[object]]:
    """The statement that writes the log rows of all these items, and its bound values."""
    rows = [(item.instance_id, item.life, item.seq, item.writer, bytearray(item.body), item.behind) for item in items]
    text, values = _filled(sql, 6, rows)
    return text, [at, *values, worker]


def _change(tx: Tx, changes: Sequence[tuple[Append, Change]]) -> None:
    rows: list[tuple[object, ...]] = []
    for item, change in changes:
        over = change.status in TERMINAL_STATUSES
        ends = over or change.status is Status.STUCK
        releases = change.release or ends
        rows.append((
            item.instance_id, item.life, int(over), change.status.value, change.seen, int(releases),
            int(change.release and not ends), "" if change.wake_at is None else change.wake_at,
            0 if change.error is None else change.error, 0 if change.code is None else change.code, item.seq,
            change.finds,
        ))  # fmt: skip
        if releases:
            tx.touched.add(item.instance_id)
    for part in _parts(rows):
        text, values = _filled(tx.text("change_instances"), 12, part)
        _demand(tx.run_text(text, [tx.now, tx.now, *values]), len(part))


def _create(tx: Tx, firsts: Sequence[tuple[Append, Create]]) -> None:
    for owner in {create.owner for _, create in firsts if create.owner is not None}:
        if tx.row("worker_alive", (owner,)) is None:
            raise UndoError
    for part in _parts([(item.instance_id, item.life, item.writer, bytearray(item.body)) for item, _ in firsts]):
        text, values = _filled(tx.text("start_logs"), 4, part)
        _demand(tx.run_text(text, [tx.now, *values]), len(part))
    rows: list[tuple[object, ...]] = []
    for item, create in firsts:
        status, error, wake_at, delay = fresh(item, create)
        if delay is not None:
            wake_at = tx.now + delay if wake_at is None else due_at(wake_at, delay, tx.now)
        rows.append((
            item.instance_id, item.life, status, create.owner, "" if wake_at is None else wake_at,
            0 if error is None else error, 0 if create.parent is None else create.parent, index_paths(create.index),
            bytearray(create.input), projection_text(create.projection), *given(create),
        ))  # fmt: skip
        if create.owner is None:
            tx.touched.add(item.instance_id)
    for new in _parts(rows):
        text, values = _filled(tx.text("start_instances"), len(new[0]), new)
        _demand(tx.run_text(text, [tx.now, tx.now, *values]), len(new))
    _index(tx, firsts)
    if interests := [row for item, _ in firsts for row in interest_rows(item, tx.now)]:
        tx.many("add_interest", interests)


def _index(tx: Tx, firsts: Sequence[tuple[Append, Create]]) -> None:
    tx.many("index_set", list({(create.workflow_name, index_paths(create.index)) for _, create in firsts}))
    declared = [
        (path_key(path), value, tx.now, item.instance_id)
        for item, create in firsts
        for path, value in create.index
        if value is not None
    ]
    if declared:
        tx.many("index_insert", declared)


def interest_rows(item: Append, now: int) -> Iterator[dict[str, object]]:
    """The parameters of `add_interest` for each interest that an append registers."""
    for one in item.interests:
        yield {
            "owner": item.instance_id, "life": item.life, "interest_id": one.interest_id, "address": one.address,
            "kind": one.kind.value, "where_": one.where, "now": now, "ahead": head_start(one),
        }  # fmt: skip


def _demand(written: int, wanted: int) -> None:
    if written != wanted:
        raise UndoError


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows of each statement."""
    most = _SIZES[-1]
    return iter((rows,)) if 0 < len(rows) <= most else (rows[i : i + most] for i in range(0, len(rows), most))


def _filled(sql: str, width: int, rows: Sequence[tuple[object, ...]]) -> tuple[str, Iterable[object]]:
    """A statement with room for the rows, and the values of the rows and of the spare room."""
    size = _SIZES[bisect_left(_SIZES, len(rows))]
    spare = [None, *[0] * (width - 1)] * (size - len(rows))
    return _for_rows(sql, width, size), chain(chain.from_iterable(rows), spare)


@lru_cache(maxsize=128)
def _for_rows(sql: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return sql.format(rows=", ".join([row] * size))


def index_paths(index: tuple[tuple[str, str | None], ...]) -> str:
    """The declared paths, as an instance's row stores them."""
    return "\n".join(sorted(path_key(path) for path, _ in index)) if index else ""


def projection_text(projection: bytes | None) -> str | None:
    """The projection as text for SQLite's JSON functions."""
    return None if projection is None else projection.decode("ascii")

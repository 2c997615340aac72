"""The outbox on SQLite: its work in a transaction, and the object that relays and operators use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from romancy.storage.limits import can_be_id
from romancy.storage.outbox import (
    OUTBOX_NEWS,
    Consignment,
    OutboxCounts,
    OutboxEntry,
    OutboxRow,
    OutboxState,
    candidates,
    check_finished,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from romancy.storage.outbox import Settled
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteOutbox", "queue_outgoing"]


def queue_outgoing(tx: Tx, rows: Iterable[OutboxRow]) -> None:
    """Insert messages. Relays are told after the commit."""
    times = (tx.now,) * 3
    sent = [(row.outbox_id, row.topic, row.body, row.key, row.instance_id, *times) for row in rows]
    tx.many("outbox_insert", sent)
    tx.touched.add(OUTBOX_NEWS)


class SqliteOutbox:
    """As `Outbox` promises. Only one transaction writes at a time, so nothing is ever locked by another."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def wait(self, timeout: float, /) -> bool:
        return await self._store.watch.wait_for_outbox(timeout)

    async def claim(self, claim: str, /, *, lease: int, limit: int, sweep: bool = False) -> Consignment:
        found = await self._store.run_read(_look)
        if not sweep and (found.next_due is None or found.next_due > found.now):
            return found
        return await self._store.run_write(partial(_claim, claim=claim, lease=lease, limit=limit, sweep=sweep))

    async def settle(self, batch: Sequence[Settled], /) -> int:
        return await self._store.run_write(partial(_settle, batch=batch), weight=2 * len(batch)) if batch else 0

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        at, outbox_id = after
        names = _array(state.value for state in (states or OutboxState))
        chosen = {"states": names, "at": at, "outbox_id": outbox_id, "limit": limit}
        return await self._store.run_read(lambda tx: [OutboxEntry.of(row) for row in tx.rows("outbox_entries", chosen)])

    async def counts(self, *, most: int | None = None) -> OutboxCounts:
        return await self._store.run_read(_counts if most is None else partial(_counts_to, most=most))

    async def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        chosen: dict[str, object] = {
            "states": _array(check_finished(states)),
            "all": outbox_ids is None,
            "ids": _array(filter(can_be_id, outbox_ids or ())),
            "limit": limit,
        }
        return await self._store.run_write(partial(_requeue, chosen=chosen), weight=limit)

    async def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        chosen = {"states": _array(check_finished(states)), "before": before, "limit": limit}
        return await self._store.run_write(lambda tx: tx.run("outbox_purge", chosen), weight=limit)

    async def read(self, limit: int) -> list[OutboxRow]:
        return await self._store.run_read(lambda tx: [OutboxRow.of(row) for row in tx.rows("outbox_page", (limit,))])

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        known = [outbox_id for outbox_id in outbox_ids if can_be_id(outbox_id)]
        return await self._store.run_write(partial(_remove, outbox_ids=known), weight=len(known))


def _look(tx: Tx) -> Consignment:
    return Consignment(entries=[], now=tx.now, next_due=_next_due(tx))


def _next_due(tx: Tx) -> int | None:
    ((next_due,),) = tx.rows("outbox_next_due")
    return None if next_due is None else int(next_due)


def _claim(tx: Tx, claim: str, lease: int, limit: int, *, sweep: bool) -> Consignment:
    if sweep:
        tx.run("outbox_sweep", {"now": tx.now})
    due = tx.rows("outbox_due", (tx.now, candidates(limit)))
    first = [outbox_id for outbox_id, behind in due if not behind]
    tx.many("outbox_park", [(outbox_id,) for outbox_id, behind in due if behind])
    tx.many("outbox_claim", [(claim, tx.now + lease, outbox_id) for outbox_id in first[:limit]])
    rows = tx.rows("outbox_claimed", (_array(first[:limit]),)) if first else []
    more = len(due) == candidates(limit) or len(first) > limit
    return Consignment(entries=[OutboxEntry.of(row) for row in rows], now=tx.now, next_due=_next_due(tx), more=more)


def _settle(tx: Tx, batch: Sequence[Settled]) -> int:
    count = 0
    for one in batch:
        values = {
            "outbox_id": one.outbox_id, "claim": one.claim, "state": one.state.value, "delay": one.delay,
            "counted": one.counted, "error": one.error, "now": tx.now,
        }  # fmt: skip
        if tx.run("outbox_settle", values):
            count += 1
            if one.state is not OutboxState.PENDING:
                _made_due(tx, tx.run("outbox_promote", {"outbox_id": one.outbox_id, "now": tx.now}))
    return count


def _requeue(tx: Tx, chosen: dict[str, object]) -> int:
    return _made_due(tx, tx.run("outbox_requeue", {**chosen, "now": tx.now}))


def _remove(tx: Tx, outbox_ids: Sequence[str]) -> int:
    keys = tx.rows("outbox_keys", (_array(outbox_ids),))
    count = tx.many("outbox_remove", [(outbox_id,) for outbox_id in outbox_ids])
    for (key,) in keys:
        _made_due(tx, tx.run("outbox_promote_key", {"key": key, "now": tx.now}))
    return count


def _made_due(tx: Tx, count: int) -> int:
    if count:
        tx.touched.add(OUTBOX_NEWS)
    return count


def _counts(tx: Tx) -> OutboxCounts:
    found = {OutboxState(state): (count, oldest) for state, count, oldest in tx.rows("outbox_counts")}
    _, oldest = found.get(OutboxState.PENDING, (0, None))
    return OutboxCounts({state: count for state, (count, _) in found.items()}, oldest, tx.now)


def _counts_to(tx: Tx, most: int) -> OutboxCounts:
    states = _array(state.value for state in OutboxState if state is not OutboxState.PENDING)
    ((due, parked, keyed, oldest),) = tx.rows("outbox_pending_to", {"most": most})
    pending = most if keyed >= most else min(due + parked, most)
    found = {OutboxState(state): count for state, count in tx.rows("outbox_ended_to", {"states": states, "most": most})}
    counted = {OutboxState.PENDING: pending, **found}
    return OutboxCounts({state: count for state, count in counted.items() if count}, oldest, tx.now)


def _array(values: Iterable[str]) -> str:
    return msgspec.json.encode(list(values)).decode()

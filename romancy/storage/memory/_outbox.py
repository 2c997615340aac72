"""The outbox of the in-memory store: messages for the outside, their claims, and the order of each key."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.outbox import (
    OUTBOX_NEWS,
    Consignment,
    OutboxCounts,
    OutboxEntry,
    OutboxState,
    candidates,
    check_finished,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from romancy.storage.memory._database import Database, Transaction
    from romancy.storage.outbox import OutboxRow, Settled

__all__ = ["MemoryOutbox", "queue_outgoing"]

_TABLE = "outbox"


async def queue_outgoing(tx: Transaction, database: Database, rows: Iterable[OutboxRow]) -> None:
    """Insert messages. Relays are told after the commit."""
    now = database.now()
    for row in sorted(rows, key=lambda row: row.outbox_id):
        await tx.lock(_TABLE, (row.outbox_id,))
        tx.put(_TABLE, (row.outbox_id,), OutboxEntry(row=row, at=now, queued_at=now, next_at=now))
        tx.touched.add(OUTBOX_NEWS)


class MemoryOutbox:
    """As `Outbox` promises."""

    def __init__(self, database: Database, begin: Callable[[], Transaction]) -> None:
        self._database = database
        self._begin = begin
        self._news = asyncio.Event()

    def hear(self) -> None:
        """Wake the relays that wait."""
        self._news.set()

    async def wait(self, timeout: float, /) -> bool:
        self._begin()
        try:
            async with asyncio.timeout(timeout):
                await self._news.wait()
        except TimeoutError:
            return False
        self._begin()
        self._news.clear()
        return True

    async def sweep(self) -> None:
        async with self._begin() as tx:
            for head in _heads(tx).values():
                if tx.try_lock(_TABLE, _key(head)):
                    self._unpark(tx, head)
            await tx.commit()

    async def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
        async with self._begin() as tx:
            await tx.step("outbox_claim")
            now = self._database.now()
            due = [entry for entry in _pending(tx) if entry.next_at is not None and entry.next_at <= now]
            due = sorted(due, key=lambda entry: (entry.next_at or 0, *_place(entry)))
            locked = [entry for entry in due[: candidates(limit)] if tx.try_lock(_TABLE, _key(entry))]
            await tx.step("outbox_judge")
            heads = _heads(tx)
            behind = [one for one in locked if one.row.key is not None and _key(heads[one.row.key]) != _key(one)]
            for entry in behind:
                tx.put(_TABLE, _key(entry), replace(entry, next_at=None))
            first = [entry for entry in locked if entry not in behind]
            given = [replace(entry, claim=claim, next_at=now + lease) for entry in first[:limit]]
            for entry in given:
                tx.put(_TABLE, _key(entry), entry)
            await tx.commit()
        left = [entry.next_at for entry in _pending(self._begin()) if entry.next_at is not None]
        more = len(locked) == candidates(limit) or len(first) > limit
        return Consignment(entries=given, now=now, next_due=min(left, default=None), more=more)

    async def settle(self, batch: Sequence[Settled], /) -> int:
        ended: set[str | None] = set()
        count = 0
        async with self._begin() as tx:
            for one in sorted(batch, key=lambda one: one.outbox_id):
                await tx.step("outbox_settle")
                held: OutboxEntry | None = await tx.lock(_TABLE, (one.outbox_id,))
                if held is None or held.claim != one.claim or held.state is not OutboxState.PENDING:
                    continue
                tx.put(_TABLE, (one.outbox_id,), self._after(held, one))
                count += 1
                if one.state is not OutboxState.PENDING:
                    ended.add(held.row.key)
            await tx.commit()
        await self._promote(ended - {None})
        return count

    def _after(self, held: OutboxEntry, one: Settled) -> OutboxEntry:
        now = self._database.now()
        pending = one.state is OutboxState.PENDING
        return replace(
            held,
            state=one.state,
            attempts=held.attempts + one.counted,
            next_at=now + one.delay if pending else None,
            claim=None,
            error=one.error if one.counted or one.error is not None else held.error,
            ended_at=None if pending else now,
        )

    async def _promote(self, keys: Collection[str | None]) -> None:
        """Make the next message of each key due. Needs a transaction of its own, after its predecessor has ended."""
        if keys:
            async with self._begin() as tx:
                await tx.step("outbox_promote")
                for key, head in sorted(_heads(tx).items()):
                    if key in keys:
                        await tx.lock(_TABLE, _key(head))  # waits for a claim that parks it now
                        self._unpark(tx, head)
                await tx.commit()

    def _unpark(self, tx: Transaction, entry: OutboxEntry) -> None:
        """Make a message due if it is parked now."""
        held: OutboxEntry | None = tx.get(_TABLE, _key(entry))
        if held is not None and held.state is OutboxState.PENDING and held.next_at is None:
            tx.put(_TABLE, _key(held), replace(held, next_at=self._database.now()))
            tx.touched.add(OUTBOX_NEWS)

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        wanted = states or frozenset(OutboxState)
        found = [entry for entry in _all(self._begin()) if entry.state in wanted and _place(entry) > after]
        return sorted(found, key=_place)[:limit]

    async def counts(self, *, most: int) -> OutboxCounts:
        entries = _all(self._begin())
        oldest = min((entry.at for entry in entries if entry.state is OutboxState.PENDING), default=None)
        counted = Counter(entry.state for entry in entries)
        bounded = {state: min(count, most) for state, count in counted.items()}
        return OutboxCounts(bounded, oldest, self._database.now())

    async def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        wanted = check_finished(states)
        count = 0
        async with self._begin() as tx:
            await tx.step("outbox_requeue")
            for entry in sorted(_all(tx), key=_place):
                named = outbox_ids is None or entry.row.outbox_id in outbox_ids
                if count < limit and entry.state in wanted and named and tx.try_lock(_TABLE, _key(entry)):
                    now = self._database.now()
                    again = replace(
                        entry, state=OutboxState.PENDING, attempts=0, queued_at=now, next_at=now, ended_at=None
                    )
                    tx.put(_TABLE, _key(entry), again)
                    tx.touched.add(OUTBOX_NEWS)
                    count += 1
            await tx.commit()
        return count

    async def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        wanted = check_finished(states)
        count = 0
        async with self._begin() as tx:
            await tx.step("outbox_purge")
            for entry in _all(tx):
                old = entry.state in wanted and entry.ended_at is not None and entry.ended_at < before
                if count < limit and old and tx.try_lock(_TABLE, _key(entry)):
                    tx.put(_TABLE, _key(entry), None)
                    count += 1
            await tx.commit()
        return count

    async def read(self, limit: int) -> list[OutboxRow]:
        return [entry.row for entry in _pending(self._begin())][:limit]

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        keys: set[str | None] = set()
        count = 0
        async with self._begin() as tx:
            for one in sorted(set(outbox_ids)):
                held: OutboxEntry | None = await tx.lock(_TABLE, (one,))
                if held is not None:
                    tx.put(_TABLE, (one,), None)
                    keys.add(held.row.key)
                    count += 1
            await tx.commit()
        await self._promote(keys - {None})
        return count


def _all(tx: Transaction) -> list[OutboxEntry]:
    return [entry for _, entry in tx.scan(_TABLE)]


def _pending(tx: Transaction) -> list[OutboxEntry]:
    return [entry for entry in _all(tx) if entry.state is OutboxState.PENDING]


def _heads(tx: Transaction) -> dict[str, OutboxEntry]:
    """The oldest pending message of each key."""
    heads: dict[str, OutboxEntry] = {}
    for entry in sorted(_pending(tx), key=_place, reverse=True):
        if entry.row.key is not None:
            heads[entry.row.key] = entry
    return heads


def _place(entry: OutboxEntry) -> tuple[int, str]:
    return entry.at, entry.row.outbox_id


def _key(entry: OutboxEntry) -> tuple[str]:
    return (entry.row.outbox_id,)

"""The outbox on PostgreSQL, as relays and operators use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from collections.abc import Collection, Sequence

    import asyncpg

    from romancy.storage.outbox import Settled
    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["PostgresOutbox"]


class PostgresOutbox:
    """As `Outbox` promises."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def wait(self, timeout: float, /) -> bool:
        return await self._signals.wait_for_outbox(timeout)

    async def claim(self, claim: str, /, *, lease: int, limit: int, sweep: bool = False) -> Consignment:
        if sweep:
            await self._database.run("outbox_sweep")
        found = await self._look()
        if found.next_due is None or found.next_due > found.now:
            return found
        due, rows = await self._database.transaction(lambda link: _claim(link, claim, lease, limit))
        entries = [OutboxEntry.of(tuple(row)) for row in rows if row[2] is not None]
        # One that no claim and no park has touched is over the limit.
        more = len(due) == candidates(limit) or len(rows) < len(due)
        left = await self._look()
        return Consignment(entries=sorted(entries, key=_place), now=left.now, next_due=left.next_due, more=more)

    async def _look(self) -> Consignment:
        ((now, next_due),) = await self._database.fetch("outbox_look")
        return Consignment(entries=[], now=now, next_due=next_due)

    async def settle(self, batch: Sequence[Settled], /) -> int:
        if not batch:
            return 0
        columns = (
            [one.outbox_id for one in batch],
            [one.claim for one in batch],
            [one.state.value for one in batch],
            [one.delay for one in batch],
            [one.counted for one in batch],
            [one.error for one in batch],
        )
        settled = await self._database.fetch("outbox_settle", *columns)
        await self._promote({row[0] for row in settled if row[1] != OutboxState.PENDING})
        return len(settled)

    async def _promote(self, keys: Collection[str | None]) -> None:
        """Make the next message of each key due, after the end of the one before it is committed."""
        if ended := sorted(key for key in keys if key is not None):
            await self._database.run("outbox_promote", ended)
            self._signals.tell([OUTBOX_NEWS])

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        names = [state.value for state in (states or OutboxState)]
        return [
            OutboxEntry.of(tuple(row)) for row in await self._database.fetch("outbox_entries", names, *after, limit)
        ]

    async def counts(self, *, most: int | None = None) -> OutboxCounts:
        if most is not None:
            return await self._counts_to(most)
        rows = await self._database.fetch("outbox_counts")
        found = {OutboxState(state): (count, oldest) for _, state, count, oldest in rows if state is not None}
        _, oldest = found.get(OutboxState.PENDING, (0, None))
        return OutboxCounts({state: count for state, (count, _) in found.items()}, oldest, rows[0][0])

    async def _counts_to(self, most: int) -> OutboxCounts:
        states = [state.value for state in OutboxState if state is not OutboxState.PENDING]
        (now, _, due, parked, keyed, oldest), *ended = await self._database.fetch("outbox_counts_to", most, states)
        pending = most if keyed >= most else min(due + parked, most)
        counted = {OutboxState.PENDING: pending, **{OutboxState(row[1]): row[2] for row in ended}}
        return OutboxCounts({state: count for state, count in counted.items() if count}, oldest, now)

    async def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        chosen = None if outbox_ids is None else list(filter(can_be_id, outbox_ids))
        count = await self._database.run("outbox_requeue", check_finished(states), chosen, limit)
        if count:
            self._signals.tell([OUTBOX_NEWS])
        return count

    async def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        return await self._database.run("outbox_purge", check_finished(states), before, limit)

    async def read(self, limit: int) -> list[OutboxRow]:
        return [OutboxRow.of(tuple(row)) for row in await self._database.fetch("outbox_read", limit)]

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        removed = await self._database.fetch("outbox_remove", list(filter(can_be_id, outbox_ids)))
        await self._promote({row[0] for row in removed})
        return len(removed)


async def _claim(link: Link, claim: str, lease: int, limit: int) -> tuple[list[str], list[asyncpg.Record]]:
    """The messages that were locked, and those of them that were claimed or parked (those without a body)."""
    due = [row[0] for row in await link.fetch("outbox_due", candidates(limit))]
    return due, await link.fetch("outbox_claim", due, limit, claim, lease) if due else []


def _place(entry: OutboxEntry) -> tuple[int, str]:
    return entry.at, entry.row.outbox_id

"""What publishes in tests of the outbox, and what the relay does with its entries."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from romancy.storage.outbox import OutboxEntry, OutboxRow, OutboxState, Settled
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Open = Callable[[], Awaitable[Store]]

__all__ = ["MINUTE", "Publisher", "ended", "ids", "outgoing", "take"]


MINUTE = 60_000_000
_numbers = itertools.count()


def outgoing(key: str | None = None, body: bytes = b"{}", **fields: str) -> OutboxRow:
    return OutboxRow(outbox_id=f"{next(_numbers):08d}-{unique()}", topic="topic", body=body, key=key, **fields)


class Publisher:
    """An instance whose appends publish."""

    def __init__(self, actor: Actor, begun: Append) -> None:
        self._actor = actor
        self._begun = begun
        self._seq = 1

    async def publish(self, *rows: OutboxRow) -> list[str]:
        self._seq += 1
        item = append(self._begun, self._seq, outbox=rows)
        assert await self._actor.write(item) is Outcome.ACCEPTED
        return [row.outbox_id for row in rows]

    async def publish_each(self, *rows: OutboxRow) -> list[str]:
        """Each in a commit of its own, so that their order is that of the commits."""
        return [outbox_id for row in rows for outbox_id in await self.publish(row)]


async def take(store: Store, limit: int = 100, *, lease: int = MINUTE, sweep: bool = False) -> list[OutboxEntry]:
    """Claim until there is nothing more to claim."""
    taken: list[OutboxEntry] = []
    if sweep:
        await store.services.outbox.sweep()
    while True:
        given = await store.services.outbox.claim(unique("claim"), lease=lease, limit=limit - len(taken))
        taken += given.entries
        if not given.more or len(taken) >= limit:
            return taken


def ids(entries: Sequence[OutboxEntry]) -> list[str]:
    return [entry.row.outbox_id for entry in entries]


def ended(
    entry: OutboxEntry, state: OutboxState = OutboxState.PUBLISHED, error: str | None = None, *, counted: bool = True
) -> Settled:
    return Settled(outbox_id=entry.row.outbox_id, claim=entry.claim or "", state=state, error=error, counted=counted)

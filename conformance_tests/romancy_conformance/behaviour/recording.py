"""A sender that records what it is given, relays for tests, and what has become of events."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from romancy.outbox.running import Relaying
from romancy.storage.outbox import OutboxState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.outbox import OutboxEvent, Relay
    from romancy.storage.outbox import OutboxEntry
    from romancy.storage.protocol import Store

__all__ = ["Recorder", "ended", "relaying"]

_LONGEST = 60.0


class Recorder:
    """A sender that keeps what it is given and does what it is told."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.sent: list[OutboxEvent] = []
        self.changed = asyncio.Event()

    async def send(self, event: OutboxEvent, /) -> None:
        self.sent.append(event)
        self.changed.set()
        if self.troubles:
            raise self.troubles.pop(0)

    async def until(self, number: int) -> None:
        async with asyncio.timeout(_LONGEST):
            while len(self.sent) < number:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def relaying(relay: Relay, store: Store) -> AsyncGenerator[Relaying]:
    """Run a relay alone."""
    at_work = Relaying(relay, store.services.outbox)
    task = asyncio.create_task(at_work.run(lambda: 5.0))
    try:
        yield at_work
    finally:
        at_work.stop()
        await task


async def ended(store: Store, number: int, *, exactly: bool = False) -> dict[str, OutboxEntry]:
    """Wait until that many events have ended, or no others are left, and return them by their ids."""
    async with asyncio.timeout(_LONGEST):
        while True:
            found = [
                one for one in await store.services.outbox.entries(limit=10_000) if one.state != OutboxState.PENDING
            ]
            if len(found) == number or (len(found) > number and not exactly):
                return {entry.row.outbox_id: entry for entry in found}
            await asyncio.sleep(0.02)

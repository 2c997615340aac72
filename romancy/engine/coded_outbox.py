"""The outbox as relays and operators see it: an app's codecs open bodies when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from romancy.storage.outbox import Consignment, Outbox, OutboxEntry, OutboxRow, OutboxState

__all__ = ["OpenedOutbox"]


class OpenedOutbox:
    """Opens bodies that are read from an outbox. A body that cannot be opened is passed on sealed."""

    def __init__(self, outbox: Outbox, opened: Callable[[OutboxRow], OutboxRow]) -> None:
        self._outbox = outbox
        self._row = opened

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def claim(self, claim: str, /, *, lease: int, limit: int, sweep: bool = False) -> Consignment:
        given = await self._outbox.claim(claim, lease=lease, limit=limit, sweep=sweep)
        given.entries[:] = map(self._entry, given.entries)
        return given

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        return [self._entry(entry) for entry in await self._outbox.entries(states, after=after, limit=limit)]

    async def read(self, limit: int) -> list[OutboxRow]:
        return [self._row(row) for row in await self._outbox.read(limit)]

    def _entry(self, entry: OutboxEntry) -> OutboxEntry:
        row = self._row(entry.row)
        return entry if row is entry.row else replace(entry, row=row)

"""Tells whether any live worker may still continue an instance. Used only while a caller waits.

The database's clock decides. This process's own clock only schedules the next look.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.engine.host import same_machine
from romancy.engine.surroundings import here
from romancy.engine.worker.known_workflows import names_in
from romancy.errors import CodecError
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Census, InstanceRow, Peer

__all__ = ["Absence", "others_may_try"]

_LEASES: Final = 2
_TO_TRY: Final = 60_000_000
"""Within this time, a worker looks twice for instances that others have parked."""


async def others_may_try(store: Store, row: InstanceRow) -> bool:
    """Whether a live worker that knows the workflow may still take up this stuck instance, parked by another.

    Only the store knows which code and which codecs were refused, so every other worker gets time to try. A store that
    lists no workers tells of none.
    """
    if Service.READING not in store.services.offered:
        return False
    census, parked_by = await store.services.reading.census(), await _parked_by(store, row)
    return any(
        _knows(peer, row.workflow_name)
        and peer.token != parked_by
        and not peer.dead
        and peer.beat_at + peer.lease >= census.now
        and max(row.updated_at, peer.started_at) + _TO_TRY > census.now
        for peer in census.workers
    )


async def _parked_by(store: Store, row: InstanceRow) -> str:
    """The token of the worker that parked it; empty if the log cannot be read."""
    try:
        end = await store.read(row.instance_id, after=row.last_seq - 1, limit=1)
    except CodecError:
        return ""
    return end.rows[0].writer.partition(".")[0] if end is not None and end.rows else ""


class Absence:
    """Watches for workers that know the awaited workflows. One look per lease serves all waiting callers."""

    def __init__(self, lease: int) -> None:
        self._lease = lease
        self._own = here().host()
        self._looking = asyncio.Lock()
        self._looked_at = 0.0
        self._excludes = False
        self._census: Census | None = None
        self._since: dict[str, int] = {}
        """For each workflow, the time from which no look has found a live worker that knows it."""

    async def is_over(self, store: Store, row: InstanceRow) -> bool:
        """Whether no live worker has known the instance's workflow for two whole leases.

        Only observed time counts: no time before the first look, and none before a gap between looks in which a worker
        may have come and gone. A worker that wrote to the instance's row knew the workflow then. Where the store lists
        no workers, it is never over.
        """
        if Service.READING not in store.services.offered:
            return False
        census = await self._look(store)
        since = self._since_of(row.workflow_name, census)
        lease = max([self._lease, *(peer.lease for peer in census.workers if _knows(peer, row.workflow_name))])
        return since is not None and census.now - max(since, row.updated_at) >= _LEASES * lease

    async def _look(self, store: Store) -> Census:
        async with self._looking:
            now, before = here().seconds(), self._census
            if before is not None and round((now - self._looked_at) * 1_000_000) < self._lease:
                return before
            census = await store.services.reading.census()
            self._census, self._looked_at = census, now
            self._excludes = store.capabilities.sessions_exclude
            if before is not None and census.now - before.now > _LEASES * self._lease:
                self._since.clear()
            for name in list(self._since):
                self._since_of(name, census)
            return census

    def _since_of(self, name: str, census: Census) -> int | None:
        knowing = [peer for peer in census.workers if _knows(peer, name)]
        if any(self._lives(peer, census.now) for peer in knowing):
            self._since.pop(name, None)
            return None
        since = self._since.setdefault(name, census.now)
        return max([since, *(peer.beat_at for peer in knowing)])

    def _lives(self, peer: Peer, now: int) -> bool:
        """Whether it may yet continue.

        On a database where a session excludes other writers, an open session can delay a live worker's heartbeats.
        """
        if peer.dead or here().certainly_gone(peer.host, self._own):
            return False
        return peer.beat_at + peer.lease >= now or (self._excludes and same_machine(peer.host, self._own))


def _knows(peer: Peer, name: str) -> bool:
    names = names_in(peer.codes)
    return name in names or (bool(peer.codes) and not names)  # an older worker does not list the workflows it knows

"""What calls on instances share: the row under which they write, and the removal of instances."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from romancy._condition import Condition
from romancy.engine import Standing, descent_of, purge
from romancy.errors import StorageError
from romancy.instance import Purged, changed_at
from romancy.senders import Senders
from romancy.storage.records import LATEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.engine import Worker
    from romancy.instance import Instance
    from romancy.storage.protocol import Store

__all__ = ["Caretaker"]

_FORGET_EVERY: Final = 3600.0
_PURGED_AT_ONCE: Final = 500


class Caretaker(Senders, Condition):
    """Writes and removes for calls that manage instances."""

    _worker: Worker | None = None  # that of this app, while it is open

    def __init__(self) -> None:
        super().__init__()
        self._forgets_at = 0.0
        self._standing = Standing()
        self._manager: Standing | None = None
        """The row under which calls that manage instances write if no worker runs here. None: one row for each call."""

    def _sweep(self) -> None:
        """Soon route posted messages, and those that ended instances had taken."""

    def _stir(self) -> None:
        """Let a worker of this app claim: an instance may be due now."""

    async def _writes_as(self, store: Store) -> tuple[str, int]:
        """The token to write under (the worker's or that of this app's own row), and the database's time or 0."""
        return (worker, 0) if (worker := self._worker_token()) is not None else await self._standing.look(store)

    async def _give_up_row(self, store: Store) -> None:
        """Remove the row under which calls wrote. If the database is away, the row expires."""
        for standing in (self._standing, self._manager):
            if standing is not None:
                with contextlib.suppress(StorageError):
                    await standing.leave(store)

    def _worker_token(self) -> str | None:
        return None

    async def _purge_as_found(self, found: Instance, *, children: bool = False) -> Purged:
        """Remove an instance unless it has changed since it was found, for example by a retry."""
        if not children:
            return Purged(await self._purge((found.instance_id,), changed_at(found)))
        descent = await descent_of(self._opened(), (found.instance_id,))
        if descent.ended.get(found.instance_id) != changed_at(found):
            return Purged()
        return Purged(await self._purge(tuple(descent.ended), descent.until), descent.open)

    async def _purge(self, ids: Sequence[str], until: int = LATEST) -> int:
        """Remove these instances. From time to time, remove old ids of signals as well."""
        forget = time.monotonic() >= self._forgets_at
        store, gone = self._to_write("purge", *ids), 0
        for first in range(0, len(ids), _PURGED_AT_ONCE):
            portion = ids[first : first + _PURGED_AT_ONCE]
            with self._deadlines.call("purge", portion):
                gone += await purge(store, portion, until=until, forget=forget and not first)
        if forget:
            self._forgets_at = time.monotonic() + _FORGET_EVERY
        self._removed(ids)
        return gone

    def _removed(self, instance_ids: Iterable[str]) -> None:
        """Wake the callers that wait for these instances, which may be gone."""

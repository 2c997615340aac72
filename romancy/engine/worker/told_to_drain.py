"""A worker that another process has asked to drain, by a notice: it hears of it, and tells how far it is.

The notice names the token of the worker, so the next one with the same id is not meant. It leaves once it was heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import StorageError
from romancy.storage.notices import row_to_leave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.engine.driver import Driver
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.tasks import Tasks
    from romancy.storage.notices import Notice
    from romancy.storage.protocol import Store

__all__ = ["ToldToDrain"]

logger = get_logger("romancy.engine")

_FORGOTTEN: Final = 60_000_000
"""Microseconds after which the notice of a worker that is gone is removed."""


class ToldToDrain:
    """Hears that one worker is to drain."""

    def __init__(self, store: Store, driver: Driver, keeper: Callable[[], LeaseKeeper], tasks: Tasks) -> None:
        self._store = store
        self._driver = driver
        self._keeper = keeper
        self._tasks = tasks
        self.begins: Callable[[], object] | None = None
        """Drains the worker, as its process does when it is told to stop."""
        self._begun = False
        self._heard = set[str]()

    def heed(self, notices: Sequence[Notice]) -> None:
        """Begin to drain if one of the notices asks this worker. Remove those of workers that are gone."""
        for one in notices:
            if one.kind == "drain" and one.token not in self._heard and self._is_over(one):
                self._heard.add(one.token)
                self._tasks.spawn(self._take_down(one))

    def _is_over(self, one: Notice) -> bool:
        leases = self._keeper().leases
        if one.name != leases.token:
            known = {peer.token for peer in leases.peers}
            return one.name not in known and self._driver.clock.now() - one.since > _FORGOTTEN
        if not self._begun:
            self._begun = leases.hurries = True
            logger.info("asked to drain")
            if self.begins is not None:
                self.begins()
        return True

    async def _take_down(self, one: Notice) -> None:
        try:
            await self._store.leave(row_to_leave(one.token))
        except StorageError as error:
            self._heard.discard(one.token)  # it is heard again
            logger.debug("cannot remove a notice: %s", error)

"""Posts and sweeps: each call becomes a job for the writer, or a read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from romancy.storage.limits import check_postings
from romancy.storage.sqlkit.routing import SqlRouter
from romancy_sqlite._routes import post_all, weight_of_posts
from romancy_sqlite._sweep import overdue, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Dispatched, Posting
    from romancy.storage.sqlkit.statements import Interpreter
    from romancy_sqlite._reached import Reached

__all__ = ["SqliteRouter"]


class SqliteRouter(SqlRouter):
    """As `Router` promises."""

    def __init__(self, store: Reached, interpreter: Interpreter) -> None:
        super().__init__(interpreter)
        self._store = store

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        check_postings(batch)
        if not batch:
            return []
        work = partial(post_all, batch=batch)
        return await self._store.run_write(work, weight=weight_of_posts(batch), lone=len(batch) == 1)

    async def _sweep(self, limit: int) -> Dispatched:
        found, untidy = await self._store.run_read(partial(overdue, limit=limit))
        if untidy:
            returned = await self._store.run_write(partial(tidy, limit=limit), weight=limit)
            found = sorted(returned.union(found))
        return await self._dispatch_due([(address, None) for address in found], limit)

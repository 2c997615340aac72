"""Posts and dispatches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.sqlkit.routing import SqlRouter
from romancy_mysql._dispatch import Dispatch
from romancy_mysql._posts import post
from romancy_mysql._sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Dispatched, Posting
    from romancy.storage.sqlkit.statements import Interpreter
    from romancy_mysql._database import Database

__all__ = ["MySQLRouter"]


class MySQLRouter(SqlRouter):
    """As `Router` promises."""

    def __init__(self, database: Database, tell: Callable[[Iterable[str]], None], interpreter: Interpreter) -> None:
        super().__init__(interpreter)
        self._database = database
        self._tell = tell
        self._sweep = Sweep(database, tell)

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        return await post(self._database, batch)

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        self._database.check_open()
        if not addresses:
            return await self._sweep.sweep(limit)
        return await Dispatch(self._database, self._tell, limit).from_addresses(addresses)

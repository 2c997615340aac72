"""Posts, sweeps, and the counting of mail whose owners others held during a dispatch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.errors import StorageUnavailableError
from romancy.storage.sqlkit.routing import SqlRouter, take_back
from romancy_mysql._effects import CLOSED, Write
from romancy_mysql._errors import LockWaitError
from romancy_mysql._posts import post
from romancy_mysql._sql import rows_of
from romancy_mysql._sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Dispatched, Posting
    from romancy.storage.sqlkit.dispatches import Unseen
    from romancy.storage.sqlkit.statements import Interpreter
    from romancy_mysql._database import Database

__all__ = ["MySQLRouter"]

_COUNTED_AT_ONCE: Final = 500


class MySQLRouter(SqlRouter):
    """As `Router` promises."""

    def __init__(self, database: Database, tell: Callable[[Iterable[str]], None], interpreter: Interpreter) -> None:
        super().__init__(interpreter)
        self._database = database
        self._tell = tell
        self._sweeps = Sweep(database, interpreter, self.dispatch_at)

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        return await post(self._database, batch)

    async def _sweep(self, limit: int) -> Dispatched:
        self._database.check_open()
        return await self._sweeps.sweep(limit)

    async def _count(self, mail: Sequence[Unseen]) -> bool:
        """If it fails, the next sweep does it.

        Mail of an instance that has ended or begun another life in the meantime is given back.
        """
        back = False
        for first in range(0, len(mail), _COUNTED_AT_ONCE):
            try:
                back = await self._count_some(mail[first : first + _COUNTED_AT_ONCE]) or back
            except StorageUnavailableError:
                continue
        return back

    async def _count_some(self, mail: Sequence[Unseen]) -> bool:
        database = self._database
        places = [(one.owner.name, one.delivery_id) for one in mail]
        try:
            await self._count_these(places)
        except LockWaitError:
            names = await database.free({name for name, _ in places})
            await self._count_these([one for one in places if one[0] in names])
        rows = rows_of(("instance_id", "life", "delivery_id"), [(*one.owner, one.delivery_id) for one in mail])
        (lost,) = await database.ask(database.statement("find_misdelivered", rows=rows, closed=CLOSED))
        misdelivered = [(name.decode(), one.decode()) for name, one in lost.rows]
        return await take_back(self._interpreter, misdelivered) > 0

    async def _count_these(self, places: list[tuple[str, str]]) -> None:
        if places:
            await self._database.write(list(Write(self._database.__getitem__).count_later(places)), lock_waits=0)
            self._tell({name for name, _ in places})

"""Posts and dispatches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.limits import check_postings
from romancy.storage.sqlkit.portions import portions
from romancy.storage.sqlkit.routing import SqlRouter
from romancy_postgres._dispatch import dispatch_at
from romancy_postgres._routes import add_messages, size_of
from romancy_postgres._sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Dispatched, Posting
    from romancy.storage.sqlkit.statements import Interpreter
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["PostgresRouter"]

_PART_BYTES: Final = 4 * 1024 * 1024
_LOCK_WAITS: Final = 2


class PostgresRouter(SqlRouter):
    """As `Router` promises."""

    def __init__(self, database: Database, signals: Signals, interpreter: Interpreter) -> None:
        super().__init__(interpreter)
        self._database = database
        self._signals = signals
        self._sweep = Sweep(database, signals)

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        check_postings(batch)
        answers: list[Delivered] = []
        for part in portions(batch, size_of, _PART_BYTES):
            answers += await self._post(part)
        return answers

    async def _post(self, part: Sequence[Posting]) -> list[Delivered]:
        return await self._database.single(lambda link: add_messages(link, part), lock_waits=_LOCK_WAITS)

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        if addresses:
            return await dispatch_at(self._database, self._signals, addresses, limit)
        return await self._sweep.run(limit)

"""Posts and sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.limits import check_postings
from romancy.storage.sqlkit.portions import portions
from romancy.storage.sqlkit.routing import SqlRouter
from romancy_postgres._inbox import count_mail
from romancy_postgres._judged_together import posts_judged_together
from romancy_postgres._routes import place_columns, posted, size_of
from romancy_postgres._routing import COUNT_AT_ONCE
from romancy_postgres._sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Dispatched, Posting
    from romancy.storage.sqlkit.dispatches import Unseen
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
        self._sweeps = Sweep(database, self.dispatch_at)

    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        check_postings(batch)
        answers: list[Delivered] = []
        for part in (batch,) if len(batch) == 1 else _parts(batch):
            rows = await self._database.fetch("messages_add", *place_columns(part), lock_waits=_LOCK_WAITS)
            answers += posted(rows)
        return answers

    async def _sweep(self, limit: int) -> Dispatched:
        return await self._sweeps.run(limit)

    async def _count(self, mail: Sequence[Unseen]) -> bool:
        late = [(one.owner.name, one.delivery_id) for one in mail if not one.over]
        for first in range(0, len(late), COUNT_AT_ONCE):
            await count_mail(self._database, self._signals, late[first : first + COUNT_AT_ONCE])
        return await self._database.run("sweep_ended", sorted({one.owner.name for one in mail})) > 0


def _parts(batch: Sequence[Posting]) -> Iterator[Sequence[Posting]]:
    """What one statement writes each."""
    for some in posts_judged_together(batch):
        yield from portions(some, size_of, _PART_BYTES)

"""The sweep of the routing: finds messages and interests that a crash left between a commit and its dispatch.

Rows that no sweep has looked at are found by an index. After its dispatch, a sweep marks the rows that remain. Later
rows are dispatched by their writers, or found by a later sweep. Interests of ended instances are searched page by page,
one page in each sweep, so that the cost of a sweep does not grow with the number of waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.routing import NOT_ROUTED, Dispatched
from romancy.storage.sqlkit.routing import take_back
from romancy_mysql._effects import CLOSED
from romancy_mysql._sql import source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from typing import Any

    from romancy.storage.sqlkit.statements import Interpreter
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer

__all__ = ["Sweep"]

_PAGE = 500
_YOUNG = 5_000_000
"""Microseconds for which a row is not marked, because its own dispatch may be on the way."""
_BEGINNING = (b"", 0, b"")
_MESSAGE = ("address", "message_id", "at", "swept")
_INTEREST = ("owner", "life", "interest_id", "at")


class Sweep:
    """Sweeps, one at a time. Remembers how far it has looked for interests of ended instances."""

    def __init__(
        self,
        database: Database,
        interpreter: Interpreter,
        dispatch_at: Callable[[Collection[str], int], Awaitable[Dispatched]],
    ) -> None:
        self._database = database
        self._interpreter = interpreter
        self._dispatch_at = dispatch_at
        self._place = _BEGINNING

    async def sweep(self, limit: int) -> Dispatched:
        """As `Router.dispatch` promises without addresses."""
        database = self._database
        owner, life, interest_id = self._place
        abandoned, outlived = await database.ask(
            database.statement("find_abandoned", closed=CLOSED, limit=_PAGE),
            database.statement(
                "find_outlived", owner=owner, life=life, interest_id=interest_id, closed=CLOSED, limit=_PAGE
            ),
        )
        await take_back(self._interpreter, [(name.decode(), one.decode()) for name, one in abandoned.rows])
        await self._drop(outlived)
        messages, interests = await database.ask(
            database.statement("unswept_messages", limit=_PAGE), database.statement("unswept_interests", limit=_PAGE)
        )
        addresses = {line[0].decode() for line in messages.rows} | {
            address for line in interests.rows if (address := line[3].decode()) < NOT_ROUTED
        }
        done = await self._dispatch_at(addresses, limit)
        known = [line for line in messages.rows if line[0].decode() not in done.held_up]
        marked = 0 if done.more else await self._mark(known, interests.rows)
        full = _PAGE in (len(messages.rows), len(interests.rows), len(abandoned.rows))
        more = done.more or (full and bool(marked or done.delivered))
        return Dispatched(delivered=done.delivered, more=more, held_up=done.held_up)

    async def _drop(self, outlived: Answer) -> None:
        """Remove the interests of a page whose instances have ended. The next sweep takes the next page."""
        rows = outlived.rows
        over = [tuple(line[:3]) for line in rows if line[3]]
        if over:
            parameters = source(("owner", "life", "interest_id"), over)
            await self._database.ask(self._database["drop_interests"].statement(parameters))
        owner, life, interest_id, _ = rows[-1] if len(rows) == _PAGE else (*_BEGINNING, 0)
        self._place = (owner, life, interest_id)

    async def _mark(self, messages: Sequence[tuple[Any, ...]], interests: Sequence[tuple[Any, ...]]) -> int:
        """Mark the rows that remain. Rows that came back or were registered again in between keep their marks."""
        database = self._database
        marks = [
            database[name].statement(source(columns, rows), age=_YOUNG)
            for name, columns, rows in (
                ("sweep_messages", _MESSAGE, messages),
                ("sweep_interests", _INTEREST, [(*line[:3], line[4]) for line in interests]),
            )
            if rows
        ]
        return sum(answer.affected for answer in await database.ask(*marks)) if marks else 0

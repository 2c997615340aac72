"""The engine's connection: frequent statements are prepared once, and one timer watches their answers.

The driver looks a statement up by its text and sets a timer for each answer. That is nothing for a batch, but a tenth
of the whole cost of a lone append.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy_postgres._array_types import ArrayTypesConnection

if TYPE_CHECKING:
    from asyncpg.prepared_stmt import PreparedStatement

__all__ = ["EngineConnection"]


class EngineConnection(ArrayTypesConnection):
    """A connection for the engine's own statements."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._statements: dict[str, PreparedStatement] = {}
        self._overdue = 0.0
        """When the awaited answer is overdue, by the loop's clock; 0: none is awaited."""
        self._watched = False

    async def run_prepared(self, text: str, arguments: tuple[object, ...], patience: float) -> str:
        """Run a statement, prepared on its first use, and return its command tag.

        Without an answer for `patience` seconds the connection is terminated, and the call fails as if it were lost.
        """
        loop = asyncio.get_running_loop()
        self._overdue = loop.time() + patience
        if not self._watched:
            self._watched = True
            loop.call_at(self._overdue, self._watch, loop)
        try:
            statement = self._statements.get(text)
            if statement is None:
                statement = self._statements[text] = await self.prepare(text)
            await statement.fetch(*arguments)
            return statement.get_statusmsg() or ""
        finally:
            self._overdue = 0.0

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Terminate the connection if its answer is overdue; else look again when the present one would be."""
        late = 0.0 < self._overdue <= loop.time()
        if late:
            self.terminate()
        self._watched = self._overdue > 0.0 and not late
        if self._watched:
            loop.call_at(self._overdue, self._watch, loop)

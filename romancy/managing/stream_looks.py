"""Reads what streams hold for all tails of a process that look at the same time: by one statement, not by one each."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.storage.journal import LINES_AT_ONCE

if TYPE_CHECKING:
    from romancy.storage.journal import Behind
    from romancy.storage.protocol import Store

__all__ = ["StreamLooks"]

_PLACES_AT_ONCE: Final = 200


class _Asked(NamedTuple):
    """What one tail waits for."""

    place: tuple[str, int, int]
    """An instance, its life, and the number behind which it wants the lines."""
    answer: asyncio.Future[Behind | None]


class StreamLooks:
    """The looks of the tails of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._journal = store.services.journal
        self._asked: list[_Asked] = []
        self._task: asyncio.Task[None] | None = None

    async def behind(self, instance_id: str, life: int, number: int) -> Behind | None:
        """What the streams of this life hold behind a number. Raises what the store raises.

        None: there is too much for one answer, or no such instance. Whoever asks finds out by itself.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked((instance_id, life, number), loop.create_future())
        self._asked.append(asked)
        if self._task is None:
            self._task = loop.create_task(self._answer_all(), context=Context())  # nobody's variables
        return await asked.answer

    async def _answer_all(self) -> None:
        """Answer until nobody asks any more. Those who ask while the database answers are asked for together."""
        try:
            await asyncio.sleep(0)  # whoever has heard of the same write asks in this turn of the loop
            while self._asked:
                now, self._asked = self._asked[:_PLACES_AT_ONCE], self._asked[_PLACES_AT_ONCE:]
                try:
                    await self._answer(now)
                finally:
                    for asked in now:
                        asked.answer.cancel()  # unless it is answered
        finally:
            self._task = None
            for asked in self._asked:
                asked.answer.cancel()
            self._asked = []

    async def _answer(self, now: list[_Asked]) -> None:
        try:
            places = sorted({asked.place for asked in now})
            found = await self._journal.written_behind(places, limit=LINES_AT_ONCE)
        except Exception as error:  # noqa: BLE001 - each of them raises it
            for asked in now:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        for asked in now:
            if not asked.answer.done():
                asked.answer.set_result(found.get(asked.place[0]))

"""Reads what streams hold for all tails of a process that look at the same time: by one statement, not by one each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextvars import Context
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.storage.journal import LINES_AT_ONCE

if TYPE_CHECKING:
    from romancy.storage.journal import KeptLine
    from romancy.storage.protocol import Store

__all__ = ["StreamLooks"]

_PLACES_AT_ONCE: Final = 200


class _Asked(NamedTuple):
    """What one tail waits for."""

    place: tuple[str, int, int]
    """An instance, its life, and the number behind which it wants the lines."""
    answer: asyncio.Future[tuple[list[KeptLine], bool]]
    """The lines, and whether they are all that there are."""


class StreamLooks:
    """The looks of the tails of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._journal = store.services.journal
        self._asked: list[_Asked] = []
        self._task: asyncio.Task[None] | None = None

    async def behind(self, instance_id: str, life: int, number: int) -> list[KeptLine]:
        """All lines of the streams of this life behind a number. Raises what the store raises."""
        loop = asyncio.get_running_loop()
        asked = _Asked((instance_id, life, number), loop.create_future())
        self._asked.append(asked)
        if self._task is None:
            self._task = loop.create_task(self._answer_all(), context=Context())  # nobody's variables
        lines, are_all = await asked.answer
        while not are_all:
            after = lines[-1].number if lines else number
            more = await self._journal.written(instance_id, life, after=after, limit=LINES_AT_ONCE)
            lines, are_all = lines + more, len(more) < LINES_AT_ONCE
        return lines

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
            found = await self._journal.written_behind([asked.place for asked in now], limit=LINES_AT_ONCE)
        except Exception as error:  # noqa: BLE001 - each of them raises it
            for asked in now:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        lines = defaultdict[str, list["KeptLine"]](list)
        for instance_id, line in found:
            lines[instance_id].append(line)
        is_cut = len(found) >= LINES_AT_ONCE
        whole = lines.keys() - {found[-1][0]} if is_cut else set[str]()
        for asked in now:
            instance_id = asked.place[0]
            if not asked.answer.done():
                asked.answer.set_result((lines.get(instance_id, []), not is_cut or instance_id in whole))

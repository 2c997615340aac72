"""Asks which chosen ids are taken: once for all starts that ask in the same turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.storage.lookups import taken_ids_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from romancy.storage.protocol import Store

__all__ = ["TakenIds"]

_AT_ONCE: Final = 1000


class TakenIds:
    """What callers of one opened app want to know of ids, each in a task of its own."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Sequence[str], asyncio.Future[Collection[str]]]] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def among(self, store: Store, instance_ids: Sequence[str]) -> Collection[str]:
        """The ids that are taken among these, and perhaps others.

        Those who ask later get an answer of their own: it may not be older than their question.
        """
        if not instance_ids:
            return ()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Collection[str]] = loop.create_future()
        self._waiting.append((instance_ids, answer))
        if len(self._waiting) == 1:
            asking = loop.create_task(self._ask(store))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        return await answer

    async def _ask(self, store: Store) -> None:
        """Ask for all who wait by now."""
        waiting, self._waiting = self._waiting, []
        ids = [one for some, _ in waiting for one in some]
        taken = set[str]()
        try:
            for first in range(0, len(ids), _AT_ONCE):
                taken |= await taken_ids_of(store, ids[first : first + _AT_ONCE])
        except Exception as error:  # noqa: BLE001 - each caller gets it
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for _, answer in waiting:
                if not answer.done():
                    answer.set_result(taken)
        finally:
            for _, answer in waiting:
                answer.cancel()  # has an effect only if this task was cancelled

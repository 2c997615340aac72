"""Watches for the commit of callers' transactions whose driver does not report it.

Each transaction is known by its number, and the server reports its state. After a commit, its writes are announced.
Transactions that stay undecided for too long are left to the sweep.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from romancy.errors import StorageError
from romancy_postgres._inbox import count_mail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy_postgres._connection import Link
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["Uncommitted"]

_FIRST_PAUSE, _LONGEST_PAUSE, _SLOWER = 0.01, 0.5, 1.5
_PATIENCE = 30.0
_NUMBER = "select txid_current()"
_STATES = "select one, txid_status(one) from unnest($1::bigint[]) one"


class _Written(Struct):
    """The changes to announce once a transaction is committed."""

    until: float
    stirred: set[str]
    posted: set[tuple[str, str]]


class Uncommitted:
    """Transactions of callers that are not committed yet, by their numbers."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals
        self._open: dict[int, _Written] = {}
        self._looking: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def add(self, link: Link, stirred: Iterable[str], posted: Iterable[tuple[str, str]]) -> None:
        """Watch the open transaction of this link, which has just written these."""
        ((number,),) = await link.fetch_text(_NUMBER)
        self._loop = asyncio.get_running_loop()
        written = self._open.setdefault(number, _Written(0.0, set(), set()))
        written.until = self._loop.time() + _PATIENCE
        written.stirred |= set(stirred)
        written.posted |= set(posted)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_until_decided())

    def look_now(self) -> None:
        """Look now, from any thread: one of the transactions has ended."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def close(self) -> None:
        """Look once more, and stop watching."""
        if self._looking is None:
            return
        self._looking.cancel()
        await asyncio.wait({self._looking})
        try:
            await self._look()
        except StorageError:
            return  # a sweep finds the rest

    async def _look_until_decided(self) -> None:
        pause = _FIRST_PAUSE
        while self._open:
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
                pause = _FIRST_PAUSE
            except TimeoutError:
                pause = min(pause * _SLOWER, _LONGEST_PAUSE)
            self._woken.clear()
            try:
                await self._look()
            except StorageError:
                pause = _LONGEST_PAUSE
            now = asyncio.get_running_loop().time()
            for number in [number for number, written in self._open.items() if written.until < now]:
                del self._open[number]

    async def _look(self) -> None:
        numbers = sorted(self._open)
        if not numbers:
            return
        rows = await self._database.single(lambda link: link.fetch_text(_STATES, numbers))
        decided = {row[0]: row[1] for row in rows if row[1] != "in progress"}
        ended = [(self._open.pop(number), state) for number, state in decided.items()]
        for written, state in ended:
            if state != "aborted":
                await count_mail(self._database, self._signals, written.posted)
                self._signals.tell(written.stirred)

"""Watches for the commit of writes in a caller's transaction, because nothing announces it.

After the commit, the mail is counted, waiting callers are woken, and messages are dispatched from their addresses.
Writes that are not seen within half a minute were rolled back, or belong to a long transaction and are left to the
sweep.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.errors import StorageError
from romancy_mysql._effects import Write
from romancy_mysql._sql import comma, source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from romancy.storage.records import Delivery
    from romancy.storage.routing import Posting
    from romancy_mysql._database import Database

__all__ = ["Posted"]

_FIRST_PAUSE, _LONGEST_PAUSE, _SLOWER = 0.01, 0.5, 1.5
_PATIENCE = 30.0


class Posted:
    """Instances, mail and posted messages that are not committed yet."""

    def __init__(
        self,
        database: Database,
        tell: Callable[[Iterable[str]], None],
        dispatch: Callable[[Collection[str]], Awaitable[object]],
    ) -> None:
        self._database = database
        self._tell = tell
        self._dispatch = dispatch
        self._starts: set[str] = set()
        self._mail: set[tuple[str, str]] = set()
        self._messages: set[tuple[str, str]] = set()
        self._until = 0.0
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking: asyncio.Task[None] | None = None

    def add(self, starts: Iterable[str], mail: Iterable[Delivery], messages: Iterable[Posting] = ()) -> None:
        """Watch for these writes of the caller's transaction."""
        self._starts |= set(starts)
        self._mail |= {(one.instance_id, one.delivery_id) for one in mail}
        self._messages |= {(place.address, one.message_id) for one in messages for place in one.places}
        if self._waits:
            self._loop = asyncio.get_running_loop()
            self._until = self._loop.time() + _PATIENCE
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_until_seen())

    def look_now(self) -> None:
        """Look now, from any thread: the caller's transaction has ended."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    @property
    def _waits(self) -> bool:
        return bool(self._starts or self._mail or self._messages)

    async def close(self) -> None:
        """Stop watching."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look_until_seen(self) -> None:
        pause = _FIRST_PAUSE
        while self._waits and asyncio.get_running_loop().time() < self._until:
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
                pause = _FIRST_PAUSE
            except TimeoutError:
                pause = min(pause * _SLOWER, _LONGEST_PAUSE)
            self._woken.clear()
            try:
                if self._starts or self._mail:
                    await self._look()
                if self._messages:
                    await self._route()
            except StorageError:
                pause = _LONGEST_PAUSE
        self._starts.clear()
        self._mail.clear()
        self._messages.clear()

    async def _look(self) -> None:
        ids = sorted(self._starts | {one for one, _ in self._mail})
        mail = source(("instance_id", "delivery_id"), sorted(self._mail)) if self._mail else None
        wanted = [self._database.statement("look_instances", ids=comma(ids), lock=comma(()))]
        if mail is not None:
            wanted.append(self._database["look_inbox"].statement(mail, lock=comma(())))
        instances, *boxes = await self._database.ask(*wanted)
        there = {one.decode() for one, *_ in instances.rows}
        arrived = {(one.decode(), delivery.decode()) for box in boxes for one, delivery in box.rows} & self._mail
        self._mail -= arrived
        if arrived:
            await self._database.write(list(Write(self._database.__getitem__).count_later(arrived)))
        self._tell({one for one, _ in arrived} | (there & self._starts))
        self._starts -= there

    async def _route(self) -> None:
        """Dispatch from the addresses where messages have arrived."""
        parameters = source(("address", "message_id"), sorted(self._messages))
        (answer,) = await self._database.ask(self._database["look_messages"].statement(parameters, lock=comma(())))
        arrived = {(address.decode(), message_id.decode()) for address, message_id in answer.rows} & self._messages
        if arrived:
            await self._dispatch({address for address, _ in arrived})
            self._messages -= arrived

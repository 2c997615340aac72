"""Connections, lent one at a time: a bounded number, a bounded wait, and nothing doubtful is ever lent again.

A connection that comes back broken, tainted or after the end is dropped; the others wait to be lent again, and are
closed when nobody wanted them for a while. Knows nothing of SQL.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from romancy_mysql._connection import Wire

__all__ = ["Pool"]

_CLOSE_TIMEOUT = 2.0


class Pool:
    """Up to `size` connections, made when they are wanted, closed when they were idle for `idle` seconds."""

    def __init__(
        self, where: str, connect: Callable[[], Awaitable[Wire]], size: int, *, patience: float, idle: float
    ) -> None:
        self._where = where
        self._connect = connect
        self._patience = patience
        self._keep = idle
        self._free = size
        """Places that nobody has, connected or not."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[tuple[float, Wire]] = []
        self._lent: set[Wire] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[Wire]:
        """A connection for the length of a block."""
        wire = await self.take()
        try:
            yield wire
        finally:
            self.give_back(wire)

    def grab(self) -> Wire | None:
        """A connection of one's own if that takes no waiting; else `take` does."""
        if not self._free or not self._idle or self._waiting:
            return None
        _, wire = self._idle.pop()
        if wire.gone:
            self._drop(wire)
            return None
        self._free -= 1
        self._lent.add(wire)
        return wire

    async def take(self) -> Wire:
        """A connection of one's own, to be given back; `StorageUnavailableError` when none gets free in time."""
        await self._take_place()
        try:
            wire = await self._wire()
        except BaseException:
            self._give_place()
            raise
        self._lent.add(wire)
        return wire

    def give_back(self, wire: Wire) -> None:
        """It is lent again if it is in order, and dropped otherwise."""
        self._lent.discard(wire)
        self._keep_or_drop(wire)
        self._give_place()

    def give_back_after(self, wire: Wire, cleaning: Callable[[], Awaitable[None]]) -> None:
        """The same, after it was cleaned behind the caller's back."""
        self._after(self._clean(wire, cleaning))

    def drop_idle(self) -> None:
        """Close the idle ones: they are probably as broken as the one that just was."""
        idle, self._idle = self._idle, []
        for _, wire in idle:
            self._drop(wire)

    async def close(self) -> None:
        """Close all, those in use as well: their calls fail as if the server had gone."""
        self._closed = True
        for wire in self._lent:
            self._drop(wire)
        idle, self._idle = self._idle, []
        for _, wire in idle:
            self._dismiss(wire)
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def _take_place(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came at the very moment of giving up
                self._give_place()
            elif turn in self._waiting:  # who gave a place meanwhile has passed over it
                self._waiting.remove(turn)
            if not isinstance(error, TimeoutError):
                raise
            raise StorageUnavailableError(
                f"{self._where}: no connection got free within {self._patience:g} s; "
                "raise pool_size in the URL, or hold sessions for shorter"
            ) from None

    def _give_place(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _wire(self) -> Wire:
        self._refuse_if_closed()
        while self._idle:
            _, wire = self._idle.pop()
            if not wire.gone:
                return wire
            self._drop(wire)
        wire = await self._connect()
        if self._closed:
            self._drop(wire)
            self._refuse_if_closed()
        return wire

    def _keep_or_drop(self, wire: Wire) -> None:
        if self._closed or wire.tainted or wire.gone:
            self._drop(wire)
            return
        now = monotonic()
        self._idle.append((now, wire))
        while self._idle[0][0] < now - self._keep:
            self._dismiss(self._idle.pop(0)[1])

    def _drop(self, wire: Wire) -> None:
        wire.abort()
        self._after(wire.until_closed())

    def _dismiss(self, wire: Wire) -> None:
        self._after(_say_goodbye(wire))

    def _after(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _clean(self, wire: Wire, cleaning: Callable[[], Awaitable[None]]) -> None:
        try:
            await cleaning()
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not lent again
            wire.tainted = True
        finally:
            self.give_back(wire)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StorageUnavailableError(f"{self._where}: the store is closed")


async def _say_goodbye(wire: Wire) -> None:
    """Close in an orderly way, so that the server's log need not mention it."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await wire.ensure_closed()
    except Exception:  # noqa: BLE001 - it goes one way or the other
        wire.abort()

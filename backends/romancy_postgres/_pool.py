"""Connections, lent one at a time: a bounded number, a bounded wait, and nothing doubtful is ever lent again.

Whoever borrows says how it went: `give_back` for a connection that is idle and clean, `discard` for every other.
A discarded connection keeps its place until it is closed, so the server never sees more than `size` of ours.
Knows nothing of SQL.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import asyncpg

from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Pool"]

C = TypeVar("C", bound="asyncpg.Connection")

_CLOSE_TIMEOUT = 2.0


class Pool(Generic[C]):
    """Up to `size` connections, made when they are wanted."""

    def __init__(self, name: str, connect: Callable[[], Awaitable[C]], size: int, patience: float = 30.0) -> None:
        self._name = name
        self._connect = connect
        self.patience = patience
        """Seconds to wait for a connection that somebody else has."""
        self._places = asyncio.Semaphore(size)
        self._idle: list[C] = []
        self._lent: set[C] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def borrow(self) -> C:
        """A connection of one's own; `StorageUnavailableError` when none gets free in time."""
        if self._places.locked():
            await self._wait_for_place()
        else:
            await self._places.acquire()  # does not suspend
        if self._idle and not self._idle[-1].is_closed():
            connection = self._idle.pop()
        else:
            connection = self._take_idle() or await self._make()
        self._lent.add(connection)
        return connection

    def give_back(self, connection: C) -> None:
        """It is idle, outside of any transaction, and as it was lent."""
        self._lent.discard(connection)
        if connection.is_closed():
            self.distrust()
        elif not self._closed:
            self._idle.append(connection)
        self._places.release()

    def distrust(self) -> None:
        """One of them was dead without a word: drop what lies idle, or each would cost a time-out of its own."""
        while self._idle:
            asyncpg.Connection.terminate(self._idle.pop())

    def discard(self, connection: C) -> None:
        """It may be in the middle of something: cancel that, close it, and only then free its place."""
        self._lent.discard(connection)
        self._after(self._bury(connection))

    def refresh(self, connection: C, clean: Callable[[C], Awaitable[None]]) -> None:
        """Clean it behind the caller's back, then give it back; discard it if that fails."""
        self._after(self._clean(connection, clean))

    async def close(self) -> None:
        """Close all, those in use as well: their calls fail as if the server had gone."""
        self._closed = True
        for connection in self._lent:
            asyncpg.Connection.terminate(connection)
        for connection in self._idle:
            self._after(self._shut(connection))
        self._idle.clear()
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def _make(self) -> C:
        """A new connection in a place that is held already."""
        making = asyncio.ensure_future(self._connect())
        try:
            # Shielded: the driver does not clean up after itself when it is cancelled while it connects.
            connection = await asyncio.shield(making)
        except asyncio.CancelledError:
            self._after(self._keep(making))
            raise
        except BaseException:
            self._places.release()
            raise
        if self._closed:
            self.discard(connection)
            raise self._is_closed()
        return connection

    async def _keep(self, making: asyncio.Future[C]) -> None:
        """Whoever wanted it has gone; the next one will be glad of it."""
        try:
            connection = await making
        except Exception:  # noqa: BLE001 - nobody is left to be told
            self._places.release()
            return
        if self._closed:
            await self._bury(connection)
        else:
            self.give_back(connection)

    def _take_idle(self) -> C | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            asyncpg.Connection.terminate(connection)
        return None

    async def _wait_for_place(self) -> None:
        if self._closed:
            raise self._is_closed()
        try:
            async with asyncio.timeout(self.patience):
                await self._places.acquire()
        except TimeoutError:
            raise StorageUnavailableError(
                f"{self._name}: no connection got free within {self.patience:g} s; "
                "raise pool_size in the URL, or hold sessions for shorter"
            ) from None

    def _is_closed(self) -> StorageUnavailableError:
        return StorageUnavailableError(f"{self._name}: the store is closed")

    def _after(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _clean(self, connection: C, clean: Callable[[C], Awaitable[None]]) -> None:
        try:
            await clean(connection)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not lent again
            self._lent.discard(connection)
            await self._bury(connection)
        else:
            self.give_back(connection)

    async def _bury(self, connection: C) -> None:
        try:
            await self._shut(connection)
        finally:
            self._places.release()

    async def _shut(self, connection: C) -> None:
        try:
            await asyncpg.Connection.close(connection, timeout=_CLOSE_TIMEOUT)
        except Exception:  # noqa: BLE001 - it goes one way or the other
            asyncpg.Connection.terminate(connection)

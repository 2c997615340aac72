"""A pool of connections: a bounded number, a bounded wait, and no connection in doubt is lent again.

A borrower gives a connection back, or discards it if it may be in the middle of something. A discarded connection keeps
its place until it is closed, so the server never sees more than `size` connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from typing import Any

__all__ = ["Handling", "Pool"]

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class Handling(Protocol[C_contra]):
    """The operations of a driver's connections that a pool needs."""

    def is_dead(self, connection: C_contra, /) -> bool:
        """Whether the connection cannot be lent again, as far as is known without asking the server."""
        ...

    def drop(self, connection: C_contra, /) -> None:
        """End the connection at once, without telling the server."""
        ...

    async def close(self, connection: C_contra, /) -> None:
        """End the connection as orderly as its state allows, within a bounded time. Never raises an `Exception`."""
        ...


class Pool(Generic[C]):
    """Up to `size` connections, made on demand and closed when unused for `idle` seconds."""

    def __init__(
        self,
        where: str,
        connect: Callable[[], Awaitable[C]],
        handling: Handling[C],
        size: int,
        *,
        patience: float = 30.0,
        idle: float = float("inf"),
    ) -> None:
        self._where = where
        self._connect = connect
        self._handling = handling
        self.patience = patience
        """Seconds to wait for a connection that another caller has."""
        self._longest_idle = idle
        self._free = size
        """Places that no borrower holds, connected or not."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[tuple[float, C]] = []
        self._lent: set[C] = set()
        self._leaving: set[asyncio.Future[Any]] = set()
        """What `close` waits for: connections that are made or closed."""
        self._closed = False

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[C]:
        """A connection for the length of a block."""
        connection = await self.take()
        try:
            yield connection
        finally:
            self.give_back(connection)

    def grab(self) -> C | None:
        """A connection if that takes no waiting; else None: use `take`."""
        if not self._free or not self._idle or self._waiting:
            return None
        _, connection = self._idle.pop()
        if self._handling.is_dead(connection):
            self._after(self._handling.close(connection))
            return None
        self._free -= 1
        self._lent.add(connection)
        return connection

    async def take(self) -> C:
        """A connection. `StorageUnavailableError` if none becomes free in time."""
        await self._take_place()
        try:
            self._refuse_if_closed()
            connection = self._take_idle()
        except BaseException:
            self._give_place()
            raise
        if connection is None:
            connection = await self._make()
        self._lent.add(connection)
        return connection

    def give_back(self, connection: C) -> None:
        """Return an idle connection in the state in which it was lent. An unusable one is discarded."""
        if self._closed or self._handling.is_dead(connection):
            self.discard(connection)
            return
        self._lent.discard(connection)
        now = monotonic()
        self._idle.append((now, connection))
        if self._waiting:
            self._give_place()
        else:
            self._free += 1
        while self._idle[0][0] < now - self._longest_idle:
            self._close_idle(self._idle.pop(0)[1])

    def give_back_after(self, connection: C, clean: Callable[[C], Awaitable[None]]) -> None:
        """Clean the connection in the background, then return it. Discard it if that fails."""
        if self._closed:
            self.discard(connection)
            return
        self._after(self._clean(connection, clean))

    def discard(self, connection: C) -> None:
        """Close the connection, and only then free its place. Of a closed pool, end it at once: the loop may end."""
        self._lent.discard(connection)
        if self._closed:
            self._handling.drop(connection)
            self._give_place()
            return
        self._after(self._close_and_free(connection))

    def drop_idle(self) -> None:
        """End the idle connections: after one was found dead, each other one might cost a time-out."""
        idle, self._idle = self._idle, []
        for _, connection in idle:
            self._handling.drop(connection)
            self._after(self._handling.close(connection))

    async def close(self) -> None:
        """Close all connections. Calls on those in use fail as if the server had gone."""
        self._closed = True
        for connection in self._lent:
            self._handling.drop(connection)
            self._after(self._handling.close(connection))
        idle, self._idle = self._idle, []
        for _, connection in idle:
            self._after(self._handling.close(connection))
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def _take_place(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        self._refuse_if_closed()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self.patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # its turn came just when it gave up
                self._give_place()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if not isinstance(error, TimeoutError):
                raise
            raise StorageUnavailableError(
                f"{self._where}: no connection became free within {self.patience:g} s; "
                "raise pool_size in the URL, or hold sessions for shorter"
            ) from None

    def _give_place(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _close_idle(self, connection: C) -> None:
        """Close the connection, and hold its place until then if no caller holds it already."""
        if self._free:
            self._free -= 1
            self._after(self._close_and_free(connection))
        else:
            self._after(self._handling.close(connection))

    def _take_idle(self) -> C | None:
        while self._idle:
            _, connection = self._idle.pop()
            if not self._handling.is_dead(connection):
                return connection
            self._after(self._handling.close(connection))
        return None

    async def _make(self) -> C:
        """A new connection in a place that is already held."""
        making = asyncio.ensure_future(self._connect())
        self._leaving.add(making)
        making.add_done_callback(self._leaving.discard)
        try:
            # Shielded: a driver that is cancelled while it connects does not clean up.
            connection = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._keep)
            raise
        except StorageUnavailableError as error:
            error.maybe_written = False  # nothing was sent but what connects
            self._give_place()
            raise
        except BaseException:
            self._give_place()
            raise
        if self._closed:
            self.discard(connection)
            self._refuse_if_closed()
        return connection

    def _keep(self, made: asyncio.Future[C]) -> None:
        """Keep the connection for the next caller: the one that asked for it no longer waits."""
        if made.cancelled() or made.exception() is not None:
            self._give_place()
        else:
            self.give_back(made.result())

    async def _clean(self, connection: C, clean: Callable[[C], Awaitable[None]]) -> None:
        try:
            await clean(connection)
        except Exception:  # noqa: BLE001 - after any error, it is not lent again
            self.discard(connection)
        except BaseException:
            self.discard(connection)
            raise
        else:
            self.give_back(connection)

    async def _close_and_free(self, connection: C) -> None:
        try:
            await self._handling.close(connection)
        finally:
            self._give_place()

    def _after(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StorageUnavailableError(f"{self._where}: the store is closed")

"""Dispatching: what is posted, or asked for, at an address is routed soon after the commit that wrote it.

Every app has a dispatcher, with a worker or without one. It makes one dispatch at a time, for all addresses that were
named since the last one. What it does not come to do (a crash, a closed app), the sweep of some worker does.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.routing import Owner

__all__ = ["Dispatcher"]

logger = get_logger("romancy.engine")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_LONGEST_GOODBYE: Final = 5.0
_LOOKS: Final = (0.02, 0.1, 0.5, 2.0)
_AT_ONCE: Final = 200
"""Upper bound on the addresses of one dispatch."""
_EXPIRE_EVERY: Final = 600.0
_EXPIRED_AT_ONCE: Final = 1000


class Dispatcher:
    """Dispatches what was asked for, until closed. A sweep removes what nobody has asked for in `keep` seconds."""

    def __init__(self, store: Store, keep: float | None = None) -> None:
        self._store = store
        self._keep = keep
        self._expires_at = 0.0
        self._addresses: dict[str, None] = {}
        self._returning: list[tuple[Owner, Sequence[str], str, Callable[[], None]]] = []
        self._sweeps = False
        self._later: list[asyncio.TimerHandle] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def ask(self, addresses: Iterable[str]) -> None:
        """Dispatch these addresses soon."""
        self._addresses.update(dict.fromkeys(addresses))
        self._go_on()

    def ask_later(self, addresses: Iterable[str]) -> None:
        """Dispatch these addresses now and, with growing pauses, a few times more.

        Somebody else's transaction has posted there, and nobody says when it commits. If that takes longer, a sweep
        comes across it.
        """
        loop, after, addresses = asyncio.get_running_loop(), 0.0, tuple(addresses)
        for pause in _LOOKS:
            after += pause
            looking = loop.call_later(after, self._look, addresses)
            self._later.append(looking)
        self._later = [one for one in self._later if not one.cancelled() and one.when() > loop.time()]

    def _look(self, addresses: Iterable[str]) -> None:
        if not self._closing:
            self.ask(addresses)

    def sweep(self) -> None:
        """Dispatch soon wherever there is something to do."""
        self._sweeps = True
        self._go_on()

    def give_back(self, owner: Owner, delivery_ids: Sequence[str], address: str, done: Callable[[], None]) -> None:
        """Put messages that an instance took and has no use for back to their address, and dispatch them again.

        `done` is called once they are back, or were found to be gone.
        """
        self._returning.append((owner, delivery_ids, address, done))
        self._go_on()

    async def close(self) -> None:
        """Wait for what was asked for, as long as the database answers."""
        self._closing = True
        for looking in self._later:
            looking.cancel()
        task = self._task
        if task is None:
            return
        _, late = await asyncio.wait([task], timeout=_LONGEST_GOODBYE)
        if late:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            logger.warning("the database does not answer: what was sent last is routed by the sweep of a worker")

    @property
    def _has_work(self) -> bool:
        return bool(self._addresses or self._returning or self._sweeps)

    def _go_on(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._task = None
        if self._has_work and not self._closing:
            self._go_on()  # it was asked for after the last look

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while self._has_work:
            try:
                await self._next()
                pause = _FIRST_PAUSE
                continue
            except StorageUnavailableError as error:
                logger.warning("events wait to be routed: %s", error)
            except Exception:
                logger.exception("events cannot be routed")
            if self._closing:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _next(self) -> None:
        """Do a part of what is to be done. What fails is still to be done."""
        if self._returning:
            owner, delivery_ids, address, done = self._returning[0]
            await self._store.router.give_back(owner, delivery_ids)
            del self._returning[0]
            self._addresses[address] = None
            done()
        elif self._addresses:
            await self._dispatch(list(self._addresses)[:_AT_ONCE])
        else:
            self._sweeps = False
            try:
                dispatched = await self._store.router.dispatch(())
            except BaseException:
                self._sweeps = True
                raise
            self._sweeps = self._sweeps or dispatched.more or await self._expire()

    async def _expire(self) -> bool:
        """Once in a while, remove what was kept for long enough. Return whether there is more of it."""
        if self._keep is None or time.monotonic() < self._expires_at:
            return False
        before = (await self._store.census()).now - round(self._keep * 1_000_000)
        gone = await self._store.router.expire(before, limit=_EXPIRED_AT_ONCE)
        if gone < _EXPIRED_AT_ONCE:
            self._expires_at = time.monotonic() + _EXPIRE_EVERY
        return gone >= _EXPIRED_AT_ONCE

    async def _dispatch(self, addresses: list[str]) -> None:
        """Dispatch these addresses. One that is named again meanwhile is dispatched again."""
        for address in addresses:
            del self._addresses[address]
        try:
            dispatched = await self._store.router.dispatch(addresses)
        except BaseException:
            self._addresses.update(dict.fromkeys(addresses))
            raise
        if dispatched.more:
            self._addresses.update(dict.fromkeys(addresses))

"""Sends heartbeats in time, takes over from dead workers, and reports the loss of this worker's lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.engine.decide import owner_changed
from romancy.errors import DatabaseReplacedError, StorageUnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.clock import DatabaseClock
    from romancy.engine.worker.lease import Excluding, Leases
    from romancy.errors import RomancyError
    from romancy.storage.protocol import Store

__all__ = ["LeaseKeeper"]

logger = get_logger("romancy.engine")

_LOOK_FOR_CORPSES_EVERY: Final = 1.0
_A_LITTLE: Final = 0.01


class LeaseKeeper:
    """Renews the lease of one worker in time. A new incarnation gets new leases from `incarnate`."""

    def __init__(
        self,
        store: Store,
        clock: DatabaseClock,
        *,
        incarnate: Callable[[], Leases],
        nonce: Callable[[], str],
        alive: Callable[[], None],
        lapsed: Callable[[], None],
        dead: Callable[[], None],
        reborn: Callable[[], None],
        freed: Callable[[], None],
        failed: Callable[[RomancyError], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._incarnate = incarnate
        self._nonce = nonce
        self._alive = alive
        self._lapsed = lapsed
        self._dead = dead
        self._reborn = reborn
        self._freed = freed
        self._failed = failed
        self.leases = incarnate()
        self._given_up = False
        self._has_lapsed = False
        self._stopped = False
        self._expiry: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Register, and take over from dead workers. Raises UsageError when a worker with the same id is at work."""
        await self.leases.renew()
        rival = self._rival()
        if rival is not None:
            await self.leases.renew(leaving=True)
            raise rival
        await self._take_over()

    async def run(self) -> None:
        """Send heartbeats until cancelled, or until a worker with the same id or the loss of the database ends it."""
        silent = 0.0
        self.watch()
        while not self._given_up:
            tick = min(_LOOK_FOR_CORPSES_EVERY, self.leases.interval)
            pause = min(tick, self.leases.next_expiry() + _A_LITTLE)
            await asyncio.sleep(pause)
            silent += pause
            if silent < self.leases.interval and pause == tick and not self.leases.lost():
                continue
            try:
                await self._renew()
                silent = 0.0
            except StorageUnavailableError as error:
                logger.warning("no heartbeat: %s", error)
                silent = self.leases.interval
            except DatabaseReplacedError as error:
                self._given_up = True
                self._failed(error)
            except Exception:
                logger.exception("no heartbeat")

    @property
    def has_lapsed(self) -> bool:
        """Whether the lease has run out, and no heartbeat has been answered since."""
        return self._has_lapsed

    def stop(self) -> None:
        """Stop watching the lease."""
        self._stopped = True
        if self._expiry is not None:
            self._expiry.cancel()

    def hold(self, session: Excluding) -> None:
        """Record an open session that excludes other writers. Call `watch` when it has ended."""
        self.leases.hold(session)

    def watch(self) -> None:
        """Watch the lease. When it expires, stop the work here without asking the database.

        Others may continue this worker's instances from then on.
        """
        if self._expiry is not None:
            self._expiry.cancel()
        if self._stopped:
            return
        left = self.leases.left()
        if left:
            self._expiry = asyncio.get_running_loop().call_later(left + _A_LITTLE, self.watch)
        elif not self._has_lapsed:
            self._has_lapsed = True
            self._lapsed()

    async def _renew(self) -> None:
        """Send a heartbeat, and take over from dead workers."""
        self.watch()
        if not await self.leases.renew():
            self._dead()
            self.leases = self._incarnate()
            await self.leases.renew()
            self._has_lapsed = True
        if self._has_lapsed:
            self._has_lapsed = False
            self.watch()
            self._reborn()
        rival = self._rival()
        if rival is not None:
            self._given_up = True
            self._failed(rival)
            await self.leases.renew(leaving=True)
            return
        self._alive()
        await self._take_over()

    def _rival(self) -> UsageError | None:
        rival = self.leases.rival()
        if rival is None:
            return None
        return UsageError(
            f"a worker with the id {rival.worker_id!r} is already at work on this database: give each worker an "
            "id of its own, or none"
        )

    async def _take_over(self) -> None:
        for peer in self.leases.lost():
            body = owner_changed(self._clock.now(), self.leases.token, "")
            while True:
                answer = await self._store.takeover(self.leases.token, peer, body, self._nonce())
                if answer.moved:
                    logger.info("took over %d instances of worker %s", len(answer.moved), peer.worker_id)
                if answer.refused or not answer.left or not answer.moved:
                    break
            self._freed()

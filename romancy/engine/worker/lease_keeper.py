"""Sends heartbeats in time, takes over from dead workers, and reports the loss of this worker's lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from romancy._logs import get_logger
from romancy.engine.decide import owner_changed
from romancy.engine.outage import Outage
from romancy.engine.worker.known_workflows import tried_in
from romancy.errors import DatabaseReplacedError, StorageUnavailableError, UsageError

if TYPE_CHECKING:
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.worker.lease import Excluding, Leases
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.errors import RomancyError
    from romancy.storage.protocol import Store

__all__ = ["LeaseHolder", "LeaseKeeper", "Term"]

logger = get_logger("romancy.engine")

_LOOK_FOR_CORPSES_EVERY: Final = 1.0
_A_LITTLE: Final = 0.01


class LeaseHolder(Protocol):
    """The worker whose lease is kept, and what it is told about its lease."""

    def new_leases(self) -> Leases:
        """The leases of a new incarnation."""
        ...

    def lease_renewed(self) -> None:
        """A heartbeat was answered."""
        ...

    def took_over(self) -> None:
        """A worker was declared dead. It may have left dispatches undone, whether it had instances or not."""
        ...

    def lease_lapsed(self) -> None:
        """No heartbeat was answered for a whole lease. Others may continue the instances of this worker."""
        ...

    def declared_dead(self) -> None:
        """Others have declared this incarnation dead. A new one follows."""
        ...

    def reborn(self) -> None:
        """After a lapse or a death, a heartbeat was answered again."""
        ...

    def gave_up(self, reason: RomancyError) -> None:
        """This worker must stop for good."""
        ...


class Term:
    """A time in which a worker may drive what it has claimed. It ends when the lease has expired, or others say so.

    What was claimed in a term, and is not loaded when it ends, must not be loaded later: others may own it. A claim in
    the next term tells what is still owned.
    """

    __slots__ = ("_over",)

    def __init__(self) -> None:
        self._over = False

    def end(self) -> None:
        """End it, for good."""
        self._over = True

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over


class LeaseKeeper:
    """Renews the lease of one worker in time."""

    def __init__(
        self,
        store: Store,
        incarnation: Incarnation,
        next_claim: NextClaim,
        holder: LeaseHolder,
        outage: Outage | None = None,
    ) -> None:
        self.outage = Outage() if outage is None else outage
        self._store = store
        self._incarnation = incarnation
        self._next_claim = next_claim
        self._holder = holder
        self.leases = holder.new_leases()
        self.term = Term()
        """The present one. Read it before a claim, and ask it after each `await` until the instance is loaded."""
        self._given_up = False
        self._has_lapsed = False
        self._stopped = False
        self._expiry: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Register, and take over from dead workers. Raises UsageError when a worker with the same id is at work."""
        await self.leases.renew()
        rival = self._rival()
        if rival is not None:
            await self.leases.leave()
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
                self.outage.answered("no heartbeat")
                silent = 0.0
            except StorageUnavailableError as error:
                self.outage.failed("no heartbeat", error)
                silent = self.leases.interval
            except DatabaseReplacedError as error:
                self._given_up = True
                self._end_term()
                self._holder.gave_up(error)
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
            self._end_term()
            self._holder.lease_lapsed()

    def _end_term(self) -> None:
        self.term.end()
        self.term = Term()

    async def _renew(self) -> None:
        """Send a heartbeat, and take over from dead workers."""
        self.watch()
        if not await self.leases.renew():
            self._end_term()
            self._holder.declared_dead()
            self.leases = self._holder.new_leases()
            await self.leases.renew()
            self._has_lapsed = True
        if self._has_lapsed:
            self._has_lapsed = False
            self.watch()
            self._holder.reborn()
        rival = self._rival()
        if rival is not None:
            self._given_up = True
            self._end_term()
            self._holder.gave_up(rival)
            await self.leases.leave()
            return
        self._holder.lease_renewed()
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
            now, tried = self._incarnation.clock.now(), tried_in(peer.codes)
            body = owner_changed(now, self.leases.token, "", heard=peer.beat_at, tried=tried)
            while True:
                answer = await self._store.takeover(self.leases.token, peer, body, self._incarnation.nonce())
                if answer.moved:
                    logger.info("took over %d instances of worker %s", len(answer.moved), peer.worker_id)
                if answer.refused or not answer.left or not answer.moved:
                    break
            if not answer.refused:
                self._holder.took_over()
            self._next_claim.look()

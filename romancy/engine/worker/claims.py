"""Finding work: when to ask the database for it, how much, and what an answer's delay may mean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy._logs import get_logger
from romancy.errors import StorageUnavailableError
from romancy.storage.records import ClaimRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.engine.clock import DatabaseClock
    from romancy.engine.driver import Driver
    from romancy.engine.worker.quarantine import Quarantine
    from romancy.engine.worker.recovery import Intake
    from romancy.storage.protocol import Store

__all__ = ["Claiming"]

logger = get_logger("romancy.engine")

_CLAIM: Final = 100
_SHARE: Final = 50
_LARGEST_SHARE: Final = 200
_FEW: Final = 5
_SOON: Final = 0.02
_SATED: Final = 0.25
_IN_VAIN: Final = 0.05
_ENOUGH: Final = 25
_PAUSE_PER_LIVE: Final = 0.0001
_PAUSE: Final = 0.5
_ECHO: Final = 0.25
_SWEEP_EVERY: Final = 30.0
_ENDS_REMEMBERED: Final = 10_000


class Claiming:
    """Asks for work when there may be some, and at the latest when something known falls due."""

    def __init__(
        self,
        store: Store,
        clock: DatabaseClock,
        driver: Driver,
        *,
        token: Callable[[], str],
        fresh: Callable[[], bool],
        codes: Mapping[str, str],
        company: Callable[[], bool],
        max_live: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._driver = driver
        self._token = token
        self._fresh = fresh
        self._codes = dict(codes)
        self._company = company
        self._max_live = max_live
        self._sated_until = 0.0
        self._in_vain_until = 0.0
        self._written = 0
        """What this worker had written at its last claim."""
        self._postponed = False
        """There is news that was left for when less is at hand."""
        self.intake: Intake
        self.quarantine: Quarantine
        self._look = asyncio.Event()
        self._recover = False
        self._swept = -_SWEEP_EVERY
        self._next_look: asyncio.Handle | None = None
        self._next_look_at = 0.0
        """By the event loop's clock. The handle cannot say: uvloop's has no `when()` where the delay is nearly zero."""
        self._ended_here: dict[str, None] = {}
        self._only_mail = False
        self._stopping = False
        self._stopped = asyncio.Event()

    def look(self) -> None:
        """There may be work: claim soon."""
        self._look.set()

    def look_for_own(self) -> None:
        """Something of ours may have escaped us: ask for everything we own, soon."""
        self._recover = True
        self._look_in(_PAUSE)

    def notice(self, changed: frozenset[str] | None) -> None:
        """The store says that these instances changed (None: any). Those that ended here are hardly news.

        Most of what others are told of are ends. Who has enough to write leaves it to them to see what else it is, and
        who has just asked in vain waits a moment before it asks again.
        """
        if changed is not None and changed <= self._ended_here.keys():
            if changed:
                # Most likely only our own echo; but somebody may have tried one of them again, or used its id anew.
                self._look_in(_ECHO)
        elif changed is not None and not changed.isdisjoint(self._driver.live):
            self.look()
        elif self._has_enough():
            self._postponed = True
            self._look_in(_SATED)
        elif self._company():
            self._look_in(max(0.0, self._in_vain_until - asyncio.get_running_loop().time()))
        else:
            self.look()

    def _has_enough(self) -> bool:
        return self._company() and len(self._driver.live) > _ENOUGH and self._driver.to_write > _ENOUGH

    def ended_here(self, instance_id: str) -> None:
        """The store is going to say that this instance changed, and we know."""
        self._ended_here[instance_id] = None
        if len(self._ended_here) > _ENDS_REMEMBERED:
            del self._ended_here[next(iter(self._ended_here))]
        if self._postponed and not self._has_enough():
            self.look()

    async def run(self) -> None:
        """Claim, until stopped or cancelled."""
        while True:
            await self._look.wait()
            self._look.clear()
            self._postponed = False
            if self._stopping:
                self._stopped.set()
                return
            if self._next_look is not None:
                self._next_look.cancel()
                self._next_look = None
            if not self._fresh():
                continue  # the next heartbeat that goes through looks again
            try:
                await self._claim()
            except StorageUnavailableError as error:
                logger.warning("cannot claim: %s", error)
                self.look_for_own()
            except Exception:
                logger.exception("cannot claim")
                self.look_for_own()

    def only_mail(self) -> None:
        """Claim nothing more, but ask for the mail of what is here: it may have to be read before something ends."""
        self._only_mail = True

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stopping = True
        self.look()

    @property
    def has_stopped(self) -> bool:
        """Whether no claim is under way and none will be."""
        return self._stopped.is_set()

    async def stopped(self) -> None:
        """Return when no claim is under way and none will be."""
        await self._stopped.wait()

    async def _claim(self) -> None:
        now = asyncio.get_running_loop().time()
        limit = self._appetite(now)
        sweep = now - self._swept >= _SWEEP_EVERY
        request = ClaimRequest(
            worker=self._token(),
            codes=self._codes,
            limit=limit,
            sweep=sweep,
            recover=self._recover,
            known=self.intake.known(),
            kept=self.intake.kept(),
        )
        before = self.intake.standing() if self._recover else {}
        self._recover = False
        work = await self._store.claim(request)
        if request.recover:
            # What was ours already may have been written to by ourselves since the store looked: read it once more.
            work.claimed[:] = [replace(claimed, log=()) for claimed in work.claimed]
            self.intake.drop_lost(work, before)
        self._clock.observe(work.now)  # what is due by a clock that has jumped must not look early here
        self._swept = now if sweep else self._swept
        if limit and not work.claimed and not work.mail:
            self._in_vain_until = now + _IN_VAIN
        if await self.intake.take_in(work):
            self.look()
        elif len(work.claimed) >= limit > 0:
            self._digest()
        elif not limit and now < self._sated_until:
            self._look_in(self._sated_until - now)
        wait = _SWEEP_EVERY if work.next_due is None else self._clock.seconds_until(work.next_due)
        if not wait:
            # It is due and was not claimed: somebody else is about to take it, or there is no room for it here.
            wait = _SOON if limit else _SATED
        self._look_in(min(wait, _SWEEP_EVERY))

    def _appetite(self, now: float) -> int:
        """How many instances to ask for. Alone, as many as there is room for; else no more than can run at once.

        Among others a share is small, but where much has been written since the last claim the next will not lie long
        either, and fewer, larger claims and commits are cheaper for all.
        """
        if self._only_mail:
            return 0
        busy = self.quarantine.busy or self.intake.waits_for_mail
        room = 0 if busy else self._max_live - len(self._driver.live) - len(self.intake.starting)
        if not self._company():
            return max(0, min(_CLAIM, room))
        if now < self._sated_until:
            return 0  # only the mail of what is here already
        before, self._written = self._written, self._driver.writer.written
        written = self._written - before if self._driver.to_write else 0
        share = max(_SHARE, min(written, _LARGEST_SHARE))
        return max(0, min(share, room, max(_FEW, self._driver.attempts.spare)))

    def _digest(self) -> None:
        """There may be more. Among others, who has much in hand leaves the next to them for a moment.

        Where activities wait for slots, a few more instances are taken only now and then (they may need no slot), until
        a good part of the slots is free again.
        """
        if not self._company():
            self.look()
            return
        attempts = self._driver.attempts
        pause = len(self._driver.live) * _PAUSE_PER_LIVE if attempts.spare > 0 else _SATED
        self._sated_until = asyncio.get_running_loop().time() + min(pause, _SATED)
        if attempts.spare <= 0:
            attempts.relief = self._hungry
        self._look_in(min(pause, _SATED))

    def _hungry(self) -> None:
        self._sated_until = 0.0
        self.look()

    def _look_in(self, seconds: float) -> None:
        """Claim in so many seconds at the latest; what was to happen earlier still does."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._next_look is not None:
            if self._next_look_at <= at:
                return
            self._next_look.cancel()
        self._next_look, self._next_look_at = loop.call_later(seconds, self.look), at

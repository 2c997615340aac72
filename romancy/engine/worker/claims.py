"""Claims work: decides when to ask the database for it, how much to ask for, and when to ask again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy._logs import get_logger
from romancy.engine.surroundings import here
from romancy.engine.worker.known_workflows import versions_in
from romancy.errors import StorageUnavailableError
from romancy.storage.marks import TAKEN_NEWS, WORKER_NEWS, marks_in
from romancy.storage.records import LATEST, ClaimRequest

if TYPE_CHECKING:
    from romancy.engine.clock import DatabaseClock
    from romancy.engine.driver import Driver
    from romancy.engine.worker.backlog import Backlog
    from romancy.engine.worker.handing_over import HandingOver
    from romancy.engine.worker.intake import Intake
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.storage.protocol import Store
    from romancy.storage.records import Work

__all__ = ["Claiming"]

logger = get_logger("romancy.engine")

_CLAIM: Final = 100
_SHARE: Final = 50
_LARGEST_SHARE: Final = 200
_SOON: Final = 0.02
_PAUSE_WHEN_BUSY: Final = 0.25
_IN_VAIN: Final = 0.05
_ENOUGH: Final = 25
_PAUSE_PER_LIVE: Final = 0.0001
_ECHO: Final = 0.25
_USUAL: Final = 0.25
"""Seconds in which nearly every claim is answered, and what it has brought taken in."""
_SWEEP_EVERY: Final = 30.0
_LOOK_AT_OTHERS: Final = 5.0
_FOR_EVER: Final = 1 << 52
"""Microseconds for which others' instances are left to them."""
_LATE: Final = 900.0
"""Seconds after a failed claim in which the database may still carry it out: as long as a network repeats a packet."""
_FEW_PEERS: Final = 4
_TURN_PER_PEER: Final = 0.001
_LONGEST_TURN: Final = 0.1
_ENDS_REMEMBERED: Final = 10_000


class Claiming:
    """Claims when there may be work, and at the latest when something known falls due."""

    def __init__(
        self,
        store: Store,
        clock: DatabaseClock,
        driver: Driver,
        intake: Intake,
        *,
        keeper: LeaseKeeper,
        next_claim: NextClaim,
        backlog: Backlog,
        max_live: int,
        handing_over: HandingOver,
        pin: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._driver = driver
        self._keeper = keeper
        self._next = next_claim
        self._backlog = backlog
        self._max_live = max_live
        self._handing_over = handing_over
        self._pin = pin
        self._looks_at_others: asyncio.TimerHandle | None = None
        self._leaves_work_until = 0.0
        self._recount: asyncio.TimerHandle | None = None
        """The next look whether there is room for more of what may be due."""
        self._in_vain_until = 0.0
        self._doubtful_until = 0.0
        """Until then, a claim that has failed may still bring this worker instances of which nobody tells it."""
        self._passed_over = 0
        """How many claims in a row have left an instance that is due."""
        self._written = 0
        """The number of items that this worker had written at its last claim."""
        self._tells = False
        """Whether the store tells what the claims of others have brought."""
        self._turns: dict[int, tuple[str, int]] = {}
        """Where the turns of those with fair keys stand."""
        self._postponed = False
        """Whether the reaction to news was postponed until there is less work at hand."""
        self.intake = intake
        self._swept = -_SWEEP_EVERY
        self._claims = False
        """Whether a claim is under way."""
        self._round = asyncio.Event()
        """Set when the next claim has been answered or given up."""
        self._ended_here: dict[str, None] = {}
        self._only_mail = False
        self._stopping = False
        self._stopped = asyncio.Event()

    def look(self) -> None:
        """Claim soon: there may be work."""
        self._next.look()

    @property
    def at_rest(self) -> bool:
        """Whether no claim is under way or about to be made."""
        if self._claims or self._next.is_wanted:
            return False
        return self._recount is None or not self._wants_more(anew=True)

    async def answered(self) -> None:
        """Return when the claim under way, and the one that is wanted now, have been answered or given up.

        Or when that takes longer than usual: the caller has other ways to go on.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_USUAL):
                for _ in range(self._claims + self._next.is_wanted):
                    await self._round.wait()

    def _end_round(self) -> None:
        self._round.set()
        self._round = asyncio.Event()

    def look_for_own(self) -> None:
        """Soon claim with a request for everything this worker owns: an earlier answer may have been lost."""
        self._next.look_for_own()

    def _has_peers(self) -> bool:
        leases = self._keeper.leases
        return bool(leases.peers) and leases.has_peers()

    def notice(self, changed: frozenset[str] | None) -> None:
        """React to changes of these instances (None: of any). Those that ended, or ended here, are usually no news.

        Most notifications report instances that ended. A busy worker leaves the rest to idle ones. A worker whose last
        claim brought nothing waits a moment before it asks again. One of many workers waits for its turn, and claims
        nothing if another one has taken what it heard of: else each start would be followed by a claim of each worker.
        """
        if changed is None:
            self._handing_over.in_doubt = True
        elif marks := marks_in(changed):
            changed -= marks
            self._heed(marks)
        peers = self._keeper.leases.peers
        if self._handing_over.in_doubt or peers:
            self._handing_over.look()
        if changed is not None and changed <= self._ended_here.keys():
            if changed:
                # Most likely these are this worker's own changes. But a caller may have retried an instance, or reused
                # its id.
                self._next.look_in(_ECHO)
            return
        self._backlog.news()
        if changed is not None and not changed.isdisjoint(self._driver.live):
            self._next.look()
        elif changed is not None and self._recount is not None and not self._wants_more():
            pass  # it is looked at when there is room
        elif not peers or not self._has_peers():
            self._next.look()
        elif self._has_enough():
            self._postponed = True
            self._next.look_in(_PAUSE_WHEN_BUSY)
        else:
            in_vain = max(0.0, self._in_vain_until - asyncio.get_running_loop().time())
            self._next.look_in_turn(changed, in_vain + self._turn())

    def _heed(self, marks: set[str]) -> None:
        """React to marks among the changes."""
        self._handing_over.workers_came(
            [mark.removeprefix(WORKER_NEWS) for mark in marks if mark.startswith(WORKER_NEWS)]
        )
        if taken := {mark.removeprefix(TAKEN_NEWS) for mark in marks if mark.startswith(TAKEN_NEWS)}:
            self._tells = True
            self._next.taken(taken)

    def _turn(self) -> float:
        """Seconds until this worker's turn to react to news: at random, the more the more peers it has."""
        many = len(self._keeper.leases.peers) - _FEW_PEERS if self._tells else 0
        return here().uniform(0, min(many * _TURN_PER_PEER, _LONGEST_TURN)) if many > 0 else 0.0

    def _has_enough(self) -> bool:
        """Whether a worker with peers has so much at hand that it leaves the rest to them."""
        return len(self._driver.live) > _ENOUGH and self._driver.to_write > _ENOUGH

    def ended_here(self, instance_id: str) -> None:
        """Record that this instance ended here: the store's notification of it will be no news."""
        self._ended_here[instance_id] = None
        if len(self._ended_here) > _ENDS_REMEMBERED:
            del self._ended_here[next(iter(self._ended_here))]
        if self._postponed and not (self._has_peers() and self._has_enough()):
            self.look()

    async def run(self) -> None:
        """Claim until stopped or cancelled."""
        try:
            while True:
                await self._next.wanted()
                self._postponed = False
                if self._recount is not None:
                    self._stop_counting()
                if self._stopping:
                    self._stopped.set()
                    return
                self._next.forget_plans()
                if self._keeper.leases.fresh():  # else the next successful heartbeat claims again
                    self._claims = True
                    try:
                        await self._claim()
                        self._keeper.outage.answered("cannot claim")
                    except Exception as error:  # noqa: BLE001 - it is logged, and tried again
                        self._failed(error)
                    finally:
                        self._claims = False
                self._end_round()
        finally:
            self._stop_counting()
            self._round.set()

    def _failed(self, error: Exception) -> None:
        """A claim has failed. What it has brought, if anything, is asked for again."""
        if isinstance(error, StorageUnavailableError):
            self._doubtful_until = asyncio.get_running_loop().time() + _LATE
            self._keeper.outage.failed("cannot claim", error)
        else:
            logger.error("cannot claim", exc_info=error)
        self.look_for_own()

    def only_mail(self) -> None:
        """Claim no more instances, only the mail of loaded ones: they may have to read it before they end."""
        self._only_mail = True

    def stop(self) -> None:
        """Stop claiming."""
        self._stopping = True
        if self._looks_at_others is not None:
            self._looks_at_others.cancel()
        self._stop_counting()
        self.look()

    @property
    def has_stopped(self) -> bool:
        """Whether no claim is under way and none will be."""
        return self._stopped.is_set()

    async def stopped(self) -> None:
        """Return when no claim is under way and none will be."""
        await self._stopped.wait()

    def _of_others(self) -> tuple[str, ...]:
        """The versions of code that other live workers run, and this one does not.

        While there are some, it looks again from time to time: what they had is due for this one when they are gone.
        """
        own = set(self._backlog.codes.values())
        others = [versions_in(peer.codes) for peer in self._keeper.leases.peers if not peer.dead]
        leaves = tuple(sorted(set[str]().union(*others) - own))
        if leaves and self._looks_at_others is None:
            self._looks_at_others = asyncio.get_running_loop().call_later(_LOOK_AT_OTHERS, self._look_at_others)
        return leaves

    def _look_at_others(self) -> None:
        self._looks_at_others = None
        self.look()

    async def _claim(self) -> None:
        now = asyncio.get_running_loop().time()
        sweep = now - self._swept >= _SWEEP_EVERY
        recover = self._next.take_own() or (sweep and now < self._doubtful_until)
        limit, codes = self._backlog.choose(self._most(now))
        if sweep and len(codes) < len(self._backlog.codes):
            limit, codes = 0, self._backlog.codes  # a sweep is for all workflows
            self.look()
        request = ClaimRequest(
            worker=self._keeper.leases.token,
            codes=codes,
            limit=limit,
            leave=self._of_others() if self._pin else (),
            grace=_FOR_EVER,
            sweep=sweep,
            recover=recover,
            known=self.intake.known(),
            kept=self.intake.kept(),
            announce=len(self._keeper.leases.peers) > _FEW_PEERS,
            turns=self._turns,
        )
        before = self.intake.standing() if recover else {}
        term = self._keeper.term
        self._driver.used.forget()
        gone = self._driver.gone = self.intake.going() if recover else None
        try:
            work = await self._store.claim(request)
        finally:
            self._driver.gone = None
        if term.is_over():
            self.look_for_own()  # others may own by now what this claim has brought
            return
        if recover:
            # This worker may have written to its own instances since the store read them: read their logs again.
            work.claimed[:] = [replace(claimed, log=()) for claimed in work.claimed]
            self.intake.drop_lost(work, before)
        self._turns = work.turns or self._turns
        self._clock.observe(work.now)  # the store decided by this clock what is due; it may have jumped
        if sweep:
            self._swept = now
            self._driver.dispatcher.sweep()
        if limit and not work.claimed and not work.mail:
            self._in_vain_until = now + _IN_VAIN
        self._backlog.answered(limit, codes, [one.workflow_name for one in work.claimed], work.next_due)
        if await self.intake.take_in(work, term, gone or frozenset()):
            self.look()
        else:
            self._plan_next(work, limit)

    def _most(self, now: float) -> int:
        """The number of instances to claim at most. 0: only the mail of loaded ones.

        With peers, a claim is small. If much was written since the last claim, the next one is larger: its instances
        will not wait long either, and fewer, larger claims and commits cost less.
        """
        if self._only_mail or self.intake.waits_for_mail:
            return 0
        room = self._room()
        if not self._keeper.leases.peers or not self._has_peers():
            return min(_CLAIM, room)
        if now < self._leaves_work_until:
            return 0
        before, self._written = self._written, self._driver.writer.written
        written = self._written - before if self._driver.to_write else 0
        return min(max(_SHARE, min(written, _LARGEST_SHARE)), room)

    def _room(self) -> int:
        return self._max_live - len(self._driver.live) - len(self.intake.starting)

    def _plan_next(self, work: Work, limit: int) -> None:
        """Plan the next claim, by what this one has brought, and what former ones have told of other workflows."""
        self._next.look_in(_SWEEP_EVERY)
        due, soonest = work.next_due, self._backlog.quiet_until
        if due is None:
            self._passed_over = 0
        elif self._clock.seconds_until(due):
            self._passed_over = 0
            soonest = min(due, soonest)
        elif limit > len(work.claimed):
            self._next.look_in(self._pause_before_what_is_due())
        if soonest != LATEST:
            self._next.look_at(soonest, self._clock)
        if limit and len(work.claimed) >= limit and self._has_peers():
            # With peers, a worker with many instances first leaves work to them for a moment.
            pause = min(len(self._driver.live) * _PAUSE_PER_LIVE, _PAUSE_WHEN_BUSY)
            self._leaves_work_until = asyncio.get_running_loop().time() + pause
        self._count_again()

    def _pause_before_what_is_due(self) -> float:
        """Seconds until the next claim if an instance is due and was not claimed although there was room.

        Another transaction holds its row: of a worker that claims it, a caller, a reader. Nobody announces that the row
        is free again, so the worker asks again, less and less often.
        """
        pause = (_IN_VAIN if self._has_peers() else _SOON) * (1 << self._passed_over)
        if pause >= _PAUSE_WHEN_BUSY:
            return _PAUSE_WHEN_BUSY
        self._passed_over += 1
        return pause

    # ── room for more ───────────────────────────────────────────────────────────────────────────────────────────

    def _wants_more(self, *, anew: bool = False) -> bool:
        """Whether there is room for instances that may be due. `anew`: count also if this was done a moment ago."""
        if self._only_mail or self._room() <= 0:
            return False
        return self._backlog.wants(anew=anew)

    def _count_again(self) -> None:
        """Claim as soon as there is room for what may be due. The database is not asked before."""
        if self._recount is not None:
            self._stop_counting()
        if self._stopping or self._only_mail or not self._backlog.may_have_more:
            return
        loop = asyncio.get_running_loop()
        left = self._leaves_work_until - loop.time()
        if left <= 0 and self._wants_more():
            self.look()
        else:
            self._recount = loop.call_later(max(left, self._backlog.pause), self._count_again)

    def _stop_counting(self) -> None:
        if self._recount is not None:
            self._recount.cancel()
            self._recount = None

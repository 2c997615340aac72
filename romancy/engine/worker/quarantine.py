"""Tries instances that may kill their workers alone, and parks those whose workers keep dying in trials.

The log keeps the record. Each takeover and each trial leaves an entry; progress, or a survived trial, ends the series.
An instance whose log shows two deaths in a row is a suspect. Most suspects are innocent and only shared a worker with
the one that killed it. During a trial, only the suspect's code runs: no activity, no body and no replay of another
instance, and no abandoned thread. A worker that dies in a trial therefore died while it drove this instance alone.

Workers also die for other reasons, and such a death may fall into a trial. A worker therefore first lives without
driving the instance, for much longer than the fatal trials lasted, and longer before each further trial. How long a
trial lasted is known from heartbeats in it. (The next worker may come much later, if something restarts the process at
intervals: it would then never live for as long as that gap requires.) A worker that
dies at random dies during this time. Such a death is evidence for the instance: earlier trials no longer count, and one
more trial is required. If a worker lives that was declared dead during a trial, it knows that the trial was not fatal.
After enough fatal trials in a row, the instance is parked, with this evidence as the reason, and all others continue.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from romancy._logs import about, get_logger
from romancy.core import OwnerChanged, decode_commit
from romancy.engine.decide import owner_changed, step_behind
from romancy.engine.slot import FREE
from romancy.errors import StorageError
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from romancy.core import LogEvent
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.engine.worker.recovery import Recovery
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, Mailbox

__all__ = ["Evidence", "Quarantine", "evidence_in"]

logger = get_logger("romancy.engine")

_GOODBYE: Final = 5.0
"""Seconds that a cancelled trial has to report its progress."""
_A_MOMENT: Final = 0.02
_SUSPICIOUS: Final = 2
_TRIALS: Final = 4
_MOST_TRIALS: Final = 8
_TAIL: Final = 32
_ALIVE: Final = 1.0
"""Seconds that a worker lives without the instance before the first trial; twice as long before each further one."""
_TIMES_LONGER: Final = 8
"""The time that a worker has to live without the instance, as a multiple of the longest fatal trial."""
_FIRST_BEAT: Final = 0.5
"""Seconds from the beginning of a trial to its first heartbeat. Each further one comes after twice the time."""
_LONG_ENOUGH: Final = 120.0
"""Upper bound on that time, in seconds."""


class Evidence(NamedTuple):
    """The evidence at the end of a log about the owners that the instance has lost."""

    deaths: int = 0
    """How many owners in a row lost the instance without its log growing."""
    trials: tuple[int, ...] = ()
    """The fatal trials since a worker last died without driving the instance: for how many µs each lasted at most."""
    without: int = 0
    """How many of the deaths were of workers that owned the instance and did not drive it."""

    @property
    def suspicious(self) -> bool:
        """Whether the next owner must try the instance alone."""
        return self.deaths >= _SUSPICIOUS

    @property
    def enough(self) -> bool:
        """Whether the instance must be parked."""
        return len(self.trials) >= min(_TRIALS + self.without, _MOST_TRIALS)

    def alive_before(self, longest: float) -> float:
        """Seconds that a worker lives without the instance before a trial; no trial takes longer than `longest`."""
        took = min(max(self.trials, default=0) / 1_000_000, longest)
        return max(_ALIVE * (1 << min(len(self.trials), _TRIALS)), min(_TIMES_LONGER * took, _LONG_ENOUGH))


def evidence_in(commits: Iterable[list[LogEvent]], *, living: Collection[str] = ()) -> Evidence:
    """The evidence in these commits, the last of a log. `living` are workers that are known not to have died."""
    row: list[OwnerChanged] = []
    for commit in reversed(list(commits)):
        if not all(isinstance(event, OwnerChanged) and event.owner for event in commit):
            break
        row += [event for event in reversed(commit) if isinstance(event, OwnerChanged)]
    trials: list[int] = []
    without = 0
    for before, after in pairwise(reversed(row)):
        if before.alone and not after.alone:
            if before.owner not in living:
                trials.append(_lasted(before, after))
        elif not before.alone and not after.alone:
            trials.clear()
            without += 1
    deaths = sum(not event.alone for event in row)
    # Between the first two, the instance was not yet a suspect, and was driven.
    return Evidence(deaths, tuple(trials), max(0, without - 1))


def _lasted(trial: OwnerChanged, taken_over: OwnerChanged) -> int:
    """For how many µs a fatal trial lasted at most: until its next heartbeat was due, or another worker had it."""
    until_taken = taken_over.at - trial.at
    if not trial.heard or not taken_over.heard:
        return until_taken
    last_beat = max(0, taken_over.heard - trial.at)
    return min(until_taken, max(2 * last_beat, round(_FIRST_BEAT * 1_000_000)))


def _what_was_seen(evidence: Evidence) -> str:
    after = ", ".join(f"{max(0, trial) / 1_000_000:.1f}" for trial in evidence.trials)
    return (
        f"{evidence.deaths} workers in a row were lost while they had it, the last {len(evidence.trials)} while they "
        f"ran nothing else (they were lost within {after} s after they had begun it). If nothing else ended them, it "
        "ends the process it runs in: look at what it was doing, and resume it when the cause is gone"
    )


class Quarantine:
    """The suspects of one worker, tried one after another."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        recovery: Recovery,
        keeper: LeaseKeeper,
        next_claim: NextClaim,
        *,
        patience: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._driver = driver
        self._recovery = recovery
        self._keeper = keeper
        self._next_claim = next_claim
        self._patience = patience
        self._pause = pause
        self._clock = clock
        self._since = clock()
        """The time since when this worker lives without the suspects that it holds back."""
        self._tried_by: set[str] = set()
        """The incarnations of this worker that have begun a trial and did not die of it."""
        self._suspects: dict[str, tuple[Claimed, Mailbox | None, Evidence]] = {}
        self._wanted = asyncio.Event()
        self._trying = False

    @property
    def busy(self) -> bool:
        """Whether a trial is under way, during which nothing else may be claimed."""
        return self._trying

    async def holds(self, claimed: Claimed, box: Mailbox | None) -> bool:
        """Read the log of an instance whose owner died. Returns True if it is a suspect and will be tried or parked."""
        if claimed.instance_id in self._suspects:
            return True
        after = max(claimed.run_from - 1, claimed.head - _TAIL)
        page = await self._store.read(claimed.instance_id, after=after, limit=_TAIL)
        commits = (decode_commit(row.body) for row in page.rows) if page else ()
        evidence = evidence_in(commits, living=self._tried_by)
        if not evidence.suspicious:
            return False
        if evidence.enough:
            reason = _what_was_seen(evidence)
            self._recovery.park(claimed, reason)
            return True
        self._suspects[claimed.instance_id] = (claimed, box, evidence)
        self._wanted.set()
        return True

    def forget(self) -> None:
        """Forget the suspects: other workers own them now."""
        self._suspects.clear()
        self._since = self._clock()

    async def run(self) -> None:
        """Try suspects until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._suspects:
                suspect = min(self._suspects.values(), key=self._alive_before)
                claimed = suspect[0]
                try:
                    await self._try(*suspect)
                except StorageError as error:
                    logger.warning(
                        "instance %s: its trial is postponed: %s", claimed.instance_id, error, extra=about(claimed)
                    )
                    await asyncio.sleep(1)
                finally:
                    self._trying = False
                    if self._is_held(claimed):
                        del self._suspects[claimed.instance_id]
                    self._let_all_go_on()
                self._next_claim.look()  # claims may continue after the trial
            self._next_claim.look()

    def _alive_before(self, suspect: tuple[Claimed, Mailbox | None, Evidence]) -> float:
        return suspect[2].alive_before(self._patience)

    def _is_held(self, claimed: Claimed) -> bool:
        """Whether the suspect is still held under the same claim: not lost to others, and not claimed again."""
        held = self._suspects.get(claimed.instance_id)
        return held is not None and held[0] is claimed

    def _let_all_go_on(self) -> None:
        self._driver.admission.end()
        try:
            for live in list(self._driver.live.values()):
                self._driver.go_on(live)
        finally:
            self._driver.attempts.let_go_on()

    async def _try(self, claimed: Claimed, box: Mailbox | None, evidence: Evidence) -> None:
        # All other instances continue until this worker has lived for long enough.
        await self._pause(max(0.0, evidence.alive_before(self._patience) + self._since - self._clock()))
        if not self._is_held(claimed):
            return  # others own it now
        self._trying = True
        self._driver.attempts.hold()
        if not await self._alone(claimed):
            logger.warning(
                "instance %s is suspected of killing workers; no trial, because other work did not end in time",
                claimed.instance_id,
                extra=about(claimed),
            )
            self._driver.admission.end()
            await self._recovery.take_up(claimed, box)
            return
        if not self._is_held(claimed):
            return  # others own it now
        logger.warning(
            "instance %s may be killing its workers: it is tried alone", claimed.instance_id, extra=about(claimed)
        )
        begun = asyncio.ensure_future(self._begin(claimed, box))
        beating = asyncio.ensure_future(self._beat())
        live: Live | None = None
        try:
            live = await asyncio.shield(begun)
            if live is not None and live.moves is not None:
                await self._until_moved(live, live.moves)
        except asyncio.CancelledError:
            await asyncio.wait([begun], timeout=_GOODBYE)  # the database may be away
            if not begun.done():
                begun.cancel()
            elif begun.exception() is None:
                live = begun.result()
            if live is not None:
                self._has_survived(live)  # a worker that is stopped did not die of it
            raise
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        """Send heartbeats that show how long a trial has lasted, until cancelled."""
        pause = _FIRST_BEAT
        await asyncio.sleep(pause)
        while True:
            with suppress(StorageError):
                await self._keeper.leases.renew()
            await asyncio.sleep(pause)
            pause *= 2

    async def _alone(self, claimed: Claimed) -> bool:
        """Wait until no code runs, and let none begin. Returns False if something does not end."""
        if not await self._driver.attempts.nothing_runs(self._patience) or not await self._nothing_is_open():
            return False
        return await self._driver.admission.begin(claimed.instance_id, self._patience)

    async def _nothing_is_open(self) -> bool:
        """Wait until ended attempts are written: otherwise a session could stay open during the whole trial."""
        try:
            async with asyncio.timeout(self._patience):
                while not self._driver.ports.empty:  # noqa: ASYNC110 - rare, and nothing signals it
                    await asyncio.sleep(_A_MOMENT)
        except TimeoutError:
            return False
        return True

    async def _begin(self, claimed: Claimed, box: Mailbox | None) -> Live | None:
        """Append the beginning of the trial and take the instance up. None if it is not loaded or has moved already."""
        token = self._keeper.leases.token
        self._tried_by.add(token)
        now = self._driver.clock.now()
        mark = owner_changed(now, token, "", alone=True, heard=now)
        nonce = self._driver.incarnation.nonce()
        if await self._driver.writer.outcome_of(step_behind(claimed, nonce, mark)) is not Outcome.ACCEPTED:
            self._next_claim.look_for_own()
            return None
        marked = msgspec.structs.replace(claimed, head=claimed.head + 1, head_writer=nonce)
        await self._recovery.take_up(marked, box)
        live = self._driver.live.get(claimed.instance_id)
        if live is None or live.head != marked.head:
            return None
        live.watch_moves()  # now: the next commit may follow at once
        return live

    def _has_survived(self, live: Live) -> None:
        """Write that the trial is over, unless something else is written, a session writes, or it was released."""
        if live.slot is FREE and not live.is_held:
            body = owner_changed(self._driver.clock.now(), "", live.definition.code)
            self._driver.write(live, live.step(self._driver.incarnation.nonce(), body))

    async def _until_moved(self, live: Live, moved: asyncio.Event) -> None:
        """Let the instance run until its log grows: by its own progress, or after it has survived for long enough."""
        self._driver.attempts.hold(only=live)
        try:
            # A replayed instance that only waits runs no code that could end a process.
            if not moved.is_set() and (live.attempts or live.inputs or live.slot is not FREE):
                async with asyncio.timeout(self._patience):
                    await moved.wait()
        except TimeoutError:
            pass
        finally:
            if not moved.is_set():
                self._has_survived(live)
        try:
            # Until the survival is in the log, a death would count against the instance. But the wait is bounded: all
            # other instances stand still.
            async with asyncio.timeout(self._patience):
                await moved.wait()
        except TimeoutError:
            pass

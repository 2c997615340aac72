"""Lets suspects begin one after another, each in a trial, and parks those whose workers keep dying in their trials.

The log keeps the record (`evidence.py`). An instance whose log shows two deaths in a row is a suspect. Most suspects
are innocent and only shared a worker with the one that killed it. A suspect begins only in a trial. Everything else
goes on meanwhile: new work, innocent work, and the suspects that have survived theirs. A trial ends when the log grows,
or when the worker has lived for long enough since it began. The next suspect begins then (`turns.py`).

The worker's row names the suspect that is tried, before it begins. Whoever takes over from a dead worker writes that
into each log. The death is held against the one that was tried, and not against the others.

Workers also die for other reasons, and such a death may fall into a trial. A worker therefore first lives without
driving the instance, for much longer than the fatal trials lasted, and longer before each further trial. How long a
trial lasted is known from heartbeats in it. (The next worker may come much later, if something restarts the process at
intervals: it would then never live for as long as that gap requires.) A worker that dies at random dies during this
time. Two such deaths outweigh a fatal trial. If a worker lives that was declared dead during a trial, it knows that the
trial was not fatal. After enough fatal trials, the instance is parked, with this evidence as the reason.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from romancy._logs import about, get_logger
from romancy.core import decode_commit
from romancy.engine.decide import owner_changed, step_behind
from romancy.engine.slot import FREE
from romancy.engine.surroundings import here
from romancy.engine.worker.evidence import FIRST_BEAT, TAIL, Evidence, evidence_in, others_tried
from romancy.engine.worker.known_workflows import suspects_told
from romancy.engine.worker.stock import waits_for_slot
from romancy.engine.worker.turns import next_of
from romancy.errors import StorageError
from romancy.status import Status
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core import LogEvent
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.lease_keeper import LeaseKeeper, Term
    from romancy.engine.worker.next_claim import NextClaim
    from romancy.engine.worker.recovery import Recovery
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, Mailbox

__all__ = ["Quarantine"]

logger = get_logger("romancy.engine")

_GOODBYE: Final = 5.0
"""Seconds that a cancelled trial has to report its progress."""
_PAUSE: Final = 1.0
"""Seconds until a worker tries again what the database or a session did not allow."""


def _what_was_seen(evidence: Evidence) -> str:
    after = ", ".join(f"{max(0, trial) / 1_000_000:.1f}" for trial in evidence.trials)
    return (
        f"{evidence.deaths} workers in a row were lost while they had it, {len(evidence.trials)} of them while they "
        f"tried it and nothing else that was suspected (they were lost within {after} s after they had begun it). If "
        "nothing else ended them, it ends the process it runs in: look at what it was doing, and resume it when the "
        "cause is gone"
    )


class _Suspect(NamedTuple):
    claimed: Claimed
    box: Mailbox | None
    term: Term
    evidence: Evidence


class Quarantine:
    """The suspects of one worker, of which one after the other begins."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        recovery: Recovery,
        keeper: LeaseKeeper,
        next_claim: NextClaim,
        *,
        patience: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """No trial lasts longer than `patience` seconds, unless the suspect cannot run."""
        self._store = store
        self._driver = driver
        self._recovery = recovery
        self._keeper = keeper
        self._next_claim = next_claim
        self._patience = patience
        self._clock = clock = clock or here().seconds
        self._since = clock()
        """The time since when this worker lives without the suspects that it holds back."""
        self._tried_by: set[str] = set()
        """The incarnations of this worker that have begun a trial and did not die of it."""
        self._suspects: dict[str, _Suspect] = {}
        """Those that have not begun."""
        self._most = 0
        """How many they were at most, since there were none."""
        self._tried = ""
        self._begun_now = ""
        """The suspect that is being taken up for its trial."""
        self._begun: set[str] = set()
        """Those that were taken up for their trials since the last answer to a claim, and the one that is now."""
        self._told: list[str] = []
        self._wanted = asyncio.Event()
        self._clearing: set[asyncio.Task[None]] = set()

    def tells(self) -> list[str]:
        """What heartbeats tell of suspects: how many are not cleared, and which one is tried."""
        return suspects_told(len(self._suspects), self._tried)

    def begins(self, instance_id: str) -> bool:
        """Whether this suspect is being taken up for its trial, or was since the last answer to a claim.

        What the claim has brought must not be taken up beside that: the trial may have released it by now.
        """
        return instance_id in self._begun

    def note_answer(self) -> None:
        """A claim was answered: it read what the trials before have left."""
        self._begun &= {self._begun_now}

    async def holds(self, claimed: Claimed, box: Mailbox | None, term: Term) -> bool:
        """Read the log of an instance whose owner died. Returns True if it is a suspect and will be tried or parked.

        Or if the term of its claim has ended meanwhile.
        """
        if claimed.instance_id in self._suspects:
            return True
        after = max(claimed.run_from - 1, claimed.head - TAIL)
        page = await self._store.read(claimed.instance_id, after=after, limit=TAIL)
        evidence = await self._evidence_of(claimed, [decode_commit(row.body) for row in page.rows] if page else [])
        if term.is_over():
            return True
        if not evidence.suspicious:
            return False
        if evidence.enough:
            self._recovery.park(claimed, _what_was_seen(evidence))
            return True
        self._suspects[claimed.instance_id] = _Suspect(claimed, box, term, evidence)
        self._most = max(self._most, len(self._suspects))
        self._wanted.set()
        return True

    async def _evidence_of(self, claimed: Claimed, commits: list[list[LogEvent]]) -> Evidence:
        evidence = evidence_in(commits, claimed.instance_id, living=self._tried_by)
        if not evidence.suspicious:
            return evidence
        guilty: set[str] = set()
        for other in others_tried(commits, claimed.instance_id):
            found = await self._store.read(other, limit=0)
            if found is not None and found.instance.status is Status.STUCK:
                guilty.add(other)
        return evidence_in(commits, claimed.instance_id, living=self._tried_by, guilty=guilty)

    def give_up(self, instance_id: str) -> None:
        """Hold this instance no longer: it is taken up without a trial."""
        self._suspects.pop(instance_id, None)

    def forget(self) -> None:
        """Forget the suspects: other workers own them now."""
        self._suspects.clear()
        self._tried = ""
        self._since = self._clock()

    async def run(self) -> None:
        """Let suspects begin until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._until_all_have_begun()
        finally:
            for task in self._clearing:
                task.cancel()

    async def _until_all_have_begun(self) -> None:
        while self._suspects:
            evidence = {each: suspect.evidence for each, suspect in self._suspects.items()}
            chosen, wait = next_of(evidence, self._clock() - self._since, self._most, self._patience)
            suspect = self._suspects[chosen]
            try:
                if wait > 0:
                    await self._tell("")
                    await self._wait_for_more(wait)
                    continue
                await self._try(suspect)
            except StorageError as error:
                logger.warning("instance %s: its trial is postponed: %s", chosen, error, extra=about(suspect.claimed))
                if not self._is_held(suspect.claimed):
                    self._next_claim.look_for_own()
                await asyncio.sleep(_PAUSE)
            finally:
                self._tried = ""
        self._most = 0
        with suppress(StorageError):
            await self._tell("")

    async def _wait_for_more(self, seconds: float) -> None:
        """Wait so long, or until there are other suspects."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        self._wanted.clear()

    async def _tell(self, tried: str) -> bool:
        """Tell others by a heartbeat which suspect is tried. False: others have declared this worker dead."""
        self._tried = tried
        if (tells := self.tells()) == self._told and not tried:
            return True
        alive = await self._keeper.leases.renew()
        self._told = tells if alive else []
        return alive

    def _is_held(self, claimed: Claimed) -> bool:
        """Whether the suspect is still held under the same claim: not lost to others, and not claimed again."""
        held = self._suspects.get(claimed.instance_id)
        return held is not None and held.claimed is claimed

    async def _try(self, suspect: _Suspect) -> None:
        claimed, box, term, evidence = suspect
        if not await self._tell(claimed.instance_id):
            await asyncio.sleep(_PAUSE)  # the next heartbeat begins a new incarnation
            return
        if not self._is_held(claimed):
            return  # others own it now
        logger.warning(
            "instance %s may be ending its workers: it is tried, %d more wait for their turns",
            claimed.instance_id,
            len(self._suspects) - 1,
            extra=about(claimed),
        )
        self._begun_now = claimed.instance_id
        self._begun.add(claimed.instance_id)
        begun = asyncio.ensure_future(self._begin_alone(claimed, box, term))
        beating = asyncio.ensure_future(self._beat())
        live: Live | None = None
        try:
            live = await asyncio.shield(begun)
            if live is not None and live.moves is not None:
                await self._until_over(live, live.moves, evidence.trial_for(self._most, self._patience))
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
            if self._is_held(claimed):
                del self._suspects[claimed.instance_id]

    async def _beat(self) -> None:
        """Send heartbeats that show how long a trial has lasted, until cancelled."""
        pause = FIRST_BEAT
        await asyncio.sleep(pause)
        while True:
            with suppress(StorageError):
                await self._keeper.leases.renew()
            await asyncio.sleep(pause)
            pause *= 2

    async def _begin_alone(self, claimed: Claimed, box: Mailbox | None, term: Term) -> Live | None:
        """Begin the trial. Claims pass over the instance and its mail meanwhile, so another one follows."""
        try:
            return await self._begin(claimed, box, term)
        finally:
            self._begun_now = ""
            self._next_claim.look_for_own()

    async def _begin(self, claimed: Claimed, box: Mailbox | None, term: Term) -> Live | None:
        """Append the beginning of the trial and take the instance up. None if it is not loaded or has moved already."""
        token = self._keeper.leases.token
        self._tried_by.add(token)
        now = self._driver.clock.now()
        mark = owner_changed(now, token, "", alone=True, heard=now, tried=claimed.instance_id)
        nonce = self._driver.incarnation.nonce()
        if await self._driver.writer.outcome_of(step_behind(claimed, nonce, mark)) is not Outcome.ACCEPTED:
            return None
        marked = msgspec.structs.replace(claimed, head=claimed.head + 1, head_writer=nonce)
        await self._recovery.take_up(marked, box, term)
        live = self._driver.live.get(claimed.instance_id)
        if live is None or live.head != marked.head:
            return None
        live.watch_moves()  # now: the next commit may follow at once
        return live

    def _has_survived(self, live: Live) -> None:
        """Write that the trial is over, unless something else is written, a session writes, or it was released."""
        if live.slot is FREE and not live.is_held:
            body = owner_changed(self._driver.clock.now(), "", live.definition.code, alone=True)
            self._driver.write(live, live.step(self._driver.incarnation.nonce(), body))

    async def _until_over(self, live: Live, moved: asyncio.Event, seconds: float) -> None:
        """Wait until its log grows: by its own progress, or because it has survived for long enough."""
        # A replayed instance that only waits runs no code that could end a process.
        if live.attempts or live.inputs or live.slot is not FREE:
            await _happens(moved, seconds)
            if not moved.is_set() and waits_for_slot(live, self._driver.attempts):
                await _happens(moved, self._patience)  # it has not run so far
        if moved.is_set():
            return
        self._has_survived(live)
        if live.is_held:
            task = asyncio.get_running_loop().create_task(self._clear(live, moved))
            self._clearing.add(task)
            task.add_done_callback(self._clearing.discard)
        else:
            # Until the survival is in the log, a death would count against the instance.
            await _happens(moved, self._patience)

    async def _clear(self, live: Live, moved: asyncio.Event) -> None:
        """Write that it has survived, once the session that has its slot lets it."""
        while not await _happens(moved, _PAUSE):
            self._has_survived(live)


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event for so many seconds at most; whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()

"""Instances that may be killing their workers: tried alone, and parked when their workers die in that again and again.

The log remembers. Each takeover leaves an entry, each trial another; real progress (or surviving the trial) ends the
row of them. An instance whose log shows two deaths in a row is a suspect: most are innocent and only shared a worker
with the culprit. A trial lets nobody's code run but the suspect's: no activity, no body, no replay of another, no
thread that was given up. So whoever dies in it died while it drove this instance alone.

Workers die without any instance's doing, too, and such a death may fall into a trial. So a worker tries an instance
only after it has lived without driving it for much longer than the trials took in which others died, and longer before
each further one: who dies at random dies before. Such a death speaks for the instance: the trials before it no longer
count, and one more is asked for from then on. A worker that was thought dead in a trial and lives knows that it was no
death. After enough of them in a row the instance is put aside, with what was seen, and everybody else goes on.
"""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from romancy._logs import about, get_logger
from romancy.core import OwnerChanged, decode_commit
from romancy.engine.decide import owner_changed
from romancy.errors import StorageError
from romancy.storage.records import Append, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from romancy.core import LogEvent
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.recovery import Intake
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, Mailbox

__all__ = ["Evidence", "Quarantine", "evidence_in"]

logger = get_logger("romancy.engine")

_GOODBYE: Final = 5.0
"""Seconds that a trial which is stopped has to say how far it came."""
_A_MOMENT: Final = 0.02
_SUSPICIOUS: Final = 2
_TRIALS: Final = 4
_MOST_TRIALS: Final = 8
_TAIL: Final = 32
_ALIVE: Final = 1.0
"""Seconds that a worker has lived without it before the first trial; twice as long before each further one."""
_TIMES_LONGER: Final = 8
"""How much longer it has lived without it than the longest trial took in which a worker died."""
_LONG_ENOUGH: Final = 120.0
"""Seconds without it that are enough before any trial."""


class Evidence(NamedTuple):
    """What the end of a log says about the owners that the instance has lost."""

    deaths: int = 0
    """How many in a row lost it without its log growing."""
    trials: tuple[int, ...] = ()
    """Of those that had it alone since somebody last died without driving it: how many µs after the trial had begun
    somebody else had it, the first first."""
    without: int = 0
    """How many of the deaths were of workers that had it and did not drive it."""

    @property
    def suspicious(self) -> bool:
        """Whether the next one has to try it alone."""
        return self.deaths >= _SUSPICIOUS

    @property
    def enough(self) -> bool:
        """Whether it is to be put aside."""
        return len(self.trials) >= min(_TRIALS + self.without, _MOST_TRIALS)

    def alive_before(self, longest: float) -> float:
        """Seconds that a worker is to have lived without it before it tries it; no trial takes longer than `longest`.

        What the log tells is how long it took until somebody else had it, who may have come late.
        """
        took = min(max(self.trials, default=0) / 1_000_000, longest)
        return max(_ALIVE * (1 << min(len(self.trials), _TRIALS)), min(_TIMES_LONGER * took, _LONG_ENOUGH))


def evidence_in(commits: Iterable[list[LogEvent]], *, living: Collection[str] = ()) -> Evidence:
    """What these commits say, the last of a log; `living` are workers of which it is known that they did not die."""
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
                trials.append(after.at - before.at)
        elif not before.alone and not after.alone:
            trials.clear()
            without += 1
    deaths = sum(not event.alone for event in row)
    # Between the first two it was no suspect yet, and was driven.
    return Evidence(deaths, tuple(trials), max(0, without - 1))


def _what_was_seen(evidence: Evidence) -> str:
    after = ", ".join(f"{max(0, trial) / 1_000_000:.1f}" for trial in evidence.trials)
    return (
        f"{evidence.deaths} workers in a row were lost while they had it, the last {len(evidence.trials)} while they "
        f"ran nothing else (another worker had it {after} s after they had begun it). If nothing else ended them, it "
        "ends the process it runs in: look at what it was doing, and resume it when the cause is gone"
    )


class Quarantine:
    """The suspects of one worker, tried one after another."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        intake: Intake,
        *,
        nonce: Callable[[], str],
        token: Callable[[], str],
        patience: float,
        done: Callable[[], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._driver = driver
        self._intake = intake
        self._nonce = nonce
        self._token = token
        self._patience = patience
        self._done = done
        self._pause = pause
        self._clock = clock
        self._since = clock()
        """Since when this worker has lived without what it holds back."""
        self._tried_by: set[str] = set()
        """The incarnations in which it has tried something, and lives."""
        self._suspects: dict[str, tuple[Claimed, Mailbox | None, Evidence]] = {}
        self._wanted = asyncio.Event()
        self._trying = False
        self._moved = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether a suspect is tried: nothing else is to be claimed meanwhile."""
        return self._trying

    async def holds(self, claimed: Claimed, box: Mailbox | None) -> bool:
        """Look at the log of an instance whose owner died; True if it is a suspect and will be tried, or parked."""
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
            logger.error("instance %s is parked: %s", claimed.instance_id, reason, extra=about(claimed))
            self._intake.park(claimed, reason)
            return True
        self._suspects[claimed.instance_id] = (claimed, box, evidence)
        self._wanted.set()
        return True

    def forget(self) -> None:
        """The suspects belong to others now."""
        self._suspects.clear()
        self._since = self._clock()

    async def run(self) -> None:
        """Try suspects, until cancelled."""
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
                        "instance %s: its trial is put off: %s", claimed.instance_id, error, extra=about(claimed)
                    )
                    await asyncio.sleep(1)
                finally:
                    self._trying = False
                    if self._is_held(claimed):
                        del self._suspects[claimed.instance_id]
                    self._let_all_go_on()
                self._done()  # what was not claimed during the trial may be now
            self._done()

    def _alive_before(self, suspect: tuple[Claimed, Mailbox | None, Evidence]) -> float:
        return suspect[2].alive_before(self._patience)

    def _is_held(self, claimed: Claimed) -> bool:
        """Whether it is still held as it was claimed: not for others, and not claimed anew."""
        held = self._suspects.get(claimed.instance_id)
        return held is not None and held[0] is claimed

    def _let_all_go_on(self) -> None:
        self._driver.solitude.end()
        try:
            for live in list(self._driver.live.values()):
                self._driver.go_on(live)
        finally:
            self._driver.attempts.let_go_on()

    async def _try(self, claimed: Claimed, box: Mailbox | None, evidence: Evidence) -> None:
        # Everybody else goes on until this worker has lived for long enough.
        await self._pause(max(0.0, evidence.alive_before(self._patience) + self._since - self._clock()))
        if not self._is_held(claimed):
            return  # it belongs to others now
        self._trying = True
        self._driver.attempts.hold()
        if not await self._alone(claimed):
            logger.warning(
                "instance %s may be killing its workers, and cannot be tried alone: others do not end",
                claimed.instance_id,
                extra=about(claimed),
            )
            self._driver.solitude.end()
            await self._intake.take_up(claimed, (), box)
            return
        if not self._is_held(claimed):
            return  # it belongs to others now
        logger.warning(
            "instance %s may be killing its workers: it is tried alone", claimed.instance_id, extra=about(claimed)
        )
        begun = asyncio.ensure_future(self._begin(claimed, box))
        live: Live | None = None
        try:
            live = await asyncio.shield(begun)
            if live is not None:
                await self._until_moved(live)
        except asyncio.CancelledError:
            await asyncio.wait([begun], timeout=_GOODBYE)  # the database may be away
            if not begun.done():
                begun.cancel()
            elif begun.exception() is None:
                live = begun.result()
            if live is not None:
                self._driver.clear(live)  # nobody who is stopped died of it
            raise

    async def _alone(self, claimed: Claimed) -> bool:
        """Wait until nothing runs and let nothing else begin; False if something does not end."""
        if not await self._driver.attempts.nothing_runs(self._patience) or not await self._nothing_is_open():
            return False
        return await self._driver.solitude.begin(claimed.instance_id, self._patience)

    async def _nothing_is_open(self) -> bool:
        """Wait until what ended has been written: a session that was left open for it would stay so all the while."""
        try:
            async with asyncio.timeout(self._patience):
                while not self._driver.ports.empty:  # noqa: ASYNC110 - rare, and nobody is told of it
                    await asyncio.sleep(_A_MOMENT)
        except TimeoutError:
            return False
        return True

    async def _begin(self, claimed: Claimed, box: Mailbox | None) -> Live | None:
        """Write that the trial begins, and take the instance up; None if it is not here or has moved already."""
        self._tried_by.add(self._token())
        mark = owner_changed(self._driver.clock.now(), self._token(), "", alone=True)
        nonce = self._nonce()
        if await self._write(claimed, nonce, mark) is not Outcome.ACCEPTED:
            self._intake.look_for_own()
            return None
        marked = msgspec.structs.replace(claimed, head=claimed.head + 1, head_writer=nonce)
        await self._intake.take_up(marked, (), box)
        live = self._driver.live.get(claimed.instance_id)
        if live is None or live.head != marked.head:
            return None
        self._moved = asyncio.Event()  # before anything else runs: its next commit may be in at once
        live.moved = self._moved.set
        return live

    async def _until_moved(self, live: Live) -> None:
        """Let it run until its log has grown, by itself or because it has survived for long enough."""
        moved = self._moved
        self._driver.attempts.hold(only=live)
        try:
            # What has been replayed and waits runs nothing that could end anybody.
            if not moved.is_set() and (live.attempts or live.inputs or live.in_flight):
                async with asyncio.timeout(self._patience):
                    await moved.wait()
        except TimeoutError:
            pass
        finally:
            if not moved.is_set():
                self._driver.clear(live)
        try:
            # Until that stands in its log, a death would be laid to its charge; but the others do not wait for ever.
            async with asyncio.timeout(self._patience):
                await moved.wait()
        except TimeoutError:
            pass
        live.moved = None

    async def _write(self, claimed: Claimed, nonce: str, body: bytes) -> Outcome:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def tell(outcome: Outcome) -> None:
            if not answer.done():
                answer.set_result(outcome)

        item = Append(
            instance_id=claimed.instance_id,
            life=claimed.life,
            seq=claimed.head + 1,
            writer=nonce,
            body=body,
            after=claimed.head_writer,
        )
        self._driver.writer.submit(item, tell)
        return await answer

"""Moves the clock of a test: by itself while the test and everything else waits, and on request.

The clock never moves past an attempt that executes, a commit that is under way or a message that is to be delivered.
`docs/decisions/tests.md` has the reasons.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy._logs import get_logger
from romancy.engine.worker.rest import is_at_rest, rests_beside_attempts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from romancy.engine import Worker
    from romancy.testing._clock import StandingClock
    from romancy.testing._relay import RelayedTime

__all__ = ["Time"]

T = TypeVar("T")

logger = get_logger("romancy.testing")

_TURNS: Final = 5
"""The number of turns of the event loop for which everything has to be at rest."""
_TURNS_OF_A_CALLER: Final = 200
"""The same while code beside the wait may still ask the app, which reads the store meanwhile."""
_MANY_TURNS: Final = 1000
_A_MOMENT: Final = 0.001
_SAY_AFTER: Final = 5.0
"""Seconds of real time after which a wait says why the clock stands still."""


class Time:
    """The time of one test app while it is open."""

    def __init__(
        self,
        clock: StandingClock,
        worker: Worker,
        *,
        skip: bool,
        idle: Callable[[], Awaitable[str]],
        relayed: RelayedTime | None = None,
    ) -> None:
        """`idle` says what is open, when a test waits and nothing is due. `relayed` is for an app with a relay."""
        self._clock = clock
        self._worker = worker
        self._skip = skip
        self._idle = idle
        self._relayed = relayed
        self._waiting = 0
        self._in_vain: set[asyncio.Future[str]] = set()
        self._asked = 0
        self._holds = 0
        self._moving = asyncio.Lock()
        self._advancing = 0
        self._callers = 0
        self._changed = asyncio.Event()
        self._beaten_at = clock.now()
        self.skips = 0
        clock.awaited = self._changed.set
        self._task = asyncio.get_running_loop().create_task(self._run(), name="romancy-test-clock")
        self._task.add_done_callback(_report)

    async def close(self) -> None:
        """Stop moving the clock."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # ── who lets it move ────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def awaited(self) -> Generator[None]:
        """The test waits for the app in this block."""
        self._waiting += 1
        self._changed.set()
        try:
            yield
        finally:
            self._waiting -= 1

    async def result_of(self, work: Coroutine[Any, Any, T]) -> T:
        """What the test waits for. Raises AssertionError if nothing is due for some seconds and nothing happens."""
        waits: asyncio.Future[Any] = asyncio.ensure_future(work)
        vain: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._in_vain.add(vain)
        try:
            with self.awaited():
                await asyncio.wait([waits, vain], return_when=asyncio.FIRST_COMPLETED)
            if not waits.done() and not vain.cancelled():
                raise AssertionError(vain.result())
            result: T = await waits
            return result
        finally:
            self._in_vain.discard(vain)
            vain.cancel()
            waits.cancel()
            await asyncio.wait([waits])

    @contextmanager
    def skipping(self) -> Generator[None]:
        """The test waits for something else in this block, and lets the clock move by itself."""
        self._asked += 1
        self._changed.set()
        try:
            yield
        finally:
            self._asked -= 1

    @contextmanager
    def held(self) -> Generator[None]:
        """The clock does not move by itself in this block."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._changed.set()

    @contextmanager
    def beside(self) -> Generator[None]:
        """In this block other code may ask the app between two of its steps. The clock does not move in between."""
        self._callers += 1
        try:
            yield
        finally:
            self._callers -= 1

    def _may_skip(self) -> bool:
        wanted = self._asked or (self._skip and self._waiting)
        return bool(wanted) and not self._holds and not self._advancing

    # ── moving ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        """Move to the next due time whenever nothing else can happen."""
        while True:
            self._changed.clear()
            if not self._may_skip():
                await self._changed.wait()
                continue
            await self.settled(turns=_TURNS_OF_A_CALLER if self._callers else _TURNS)
            due = self._clock.next_due
            if not (self._may_skip() and is_at_rest(self._worker)):
                continue
            if due is None:
                await self._nothing_is_due()
                continue
            self.skips += 1
            await self._move(due)

    async def _nothing_is_due(self) -> None:
        """Wait for a change. After a while, end the waits of the test that no task of its own can end any more."""
        written = self._worker.writer.written
        try:
            async with asyncio.timeout(_SAY_AFTER):
                await self._changed.wait()
        except TimeoutError:
            if self._asked or self._worker.writer.written != written or not is_at_rest(self._worker):
                return
            told = await self._idle()
            for vain in self._in_vain:
                if not vain.done():
                    vain.set_result(told)

    async def _move(self, moment: int) -> None:
        self._clock.move_to(moment)
        leases = self._worker.leases
        if self._clock.now() - self._beaten_at > leases.worker.lease // 3:
            self._beaten_at = self._clock.now()
            await leases.renew()  # the lease runs in real time, but other workers judge it by the database's time

    async def advance(self, by: int, *, executing: bool) -> None:
        """Move by so many microseconds, with a stop at every due time on the way.

        With `executing`, executing attempts do not delay it.
        """
        self._advancing += 1
        try:
            if executing:
                await self._advance_to(self._clock.now() + by, executing=True)
                return
            async with self._moving:
                await self._advance_to(self._clock.now() + by, executing=False)
        finally:
            self._advancing -= 1
            self._changed.set()

    async def _advance_to(self, until: int, *, executing: bool) -> None:
        while True:
            await self.settled(executing=executing)
            due = self._clock.next_due
            if due is None or due > until:
                break
            await self._move(due)
        await self._move(until)
        await self.settled(executing=executing)

    # ── at rest ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def settled(self, *, executing: bool = False, turns: int = _TURNS) -> None:
        """Wait until nothing can happen at the present time; with `executing`, apart from ends of attempts.

        `turns`: for so many turns of the event loop everything has to be at rest.
        """
        worker = self._worker
        while True:
            await self._rests(executing=executing)
            written = worker.writer.written
            worker.claiming.look()  # what rests in the database may be due, or have mail
            await self._rests(executing=executing, turns=turns)
            sent = self._relayed is not None and await self._relayed.settled()
            if written == worker.writer.written and not sent:
                return

    async def _rests(self, *, executing: bool, turns: int = _TURNS) -> None:
        attempts, rested, all_turns = self._worker.driver.attempts, 0, 0
        while rested < turns:
            if not executing and not attempts.idle:
                await self._attempts_ended()
            # A few turns of the loop let everything happen that is ready. What takes longer waits for a pause of its
            # own (a lock, a lost session).
            await asyncio.sleep(0 if all_turns < _MANY_TURNS else _A_MOMENT)
            at_rest = rests_beside_attempts if executing else is_at_rest
            rested, all_turns = rested + 1 if at_rest(self._worker) else 0, all_turns + 1

    async def _attempts_ended(self) -> None:
        attempts = self._worker.driver.attempts
        if not await attempts.all_ended(_SAY_AFTER):
            live = self._worker.driver.live.values()
            names = sorted({attempt.effect.name for each in live for attempt in each.attempts.values() if attempt.task})
            logger.warning("the clock of the test stands still: %s executes", ", ".join(names) or "an activity")
            await attempts.all_ended(None)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("the clock of the test does not move any more", exc_info=task.exception())

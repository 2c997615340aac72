"""Instances that may be killing their workers: tried alone, and parked when their workers die in that again and again.

The log remembers. Each takeover leaves an entry, each trial another; real progress (or surviving the trial) ends the
row of them. An instance whose log shows two deaths in a row is a suspect: most are innocent and only shared a worker
with the culprit. A trial begins when nothing else runs here, after a moment in which nothing runs at all, and lets
nothing else begin: whoever dies in it died while it drove this instance alone. A death in the moment before speaks for
the instance, because workers die without driving it too, and the trials before it no longer count. After the third in
a row it is put aside, with what was seen, and everybody else goes on.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from romancy._logs import about, get_logger
from romancy.core import OwnerChanged, decode_commit
from romancy.engine._live import owner_changed
from romancy.errors import StorageError
from romancy.storage.records import Append, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from romancy.core import LogEvent
    from romancy.engine._driver import Driver
    from romancy.engine._intake import Intake
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, Mailbox

__all__ = ["Quarantine", "deaths_and_trials"]

logger = get_logger("romancy.engine")

_SUSPICIOUS: Final = 2
_TRIALS: Final = 3
_TAIL: Final = 16
_QUIET: Final = 1.0
"""Seconds in which nothing runs before the first trial; twice as long before each further one."""


def deaths_and_trials(commits: Iterable[list[LogEvent]]) -> tuple[int, tuple[int, ...]]:
    """How many owners in a row lost the instance without its log growing, and what those say who had it alone.

    Of each of these: how long (µs) after the trial had begun somebody else had it, the first first.
    """
    row: list[OwnerChanged] = []
    for commit in reversed(list(commits)):
        if not all(isinstance(event, OwnerChanged) and event.owner for event in commit):
            break
        row += [event for event in reversed(commit) if isinstance(event, OwnerChanged)]
    trials: list[int] = []
    for before, after in pairwise(reversed(row)):
        if before.alone and not after.alone:
            trials.append(after.at - before.at)
        elif not before.alone and not after.alone:
            trials.clear()  # somebody died who had it and did not drive it
    return sum(not event.alone for event in row), tuple(trials)


def _what_was_seen(deaths: int, trials: Sequence[int]) -> str:
    after = ", ".join(f"{max(0, trial) / 1_000_000:.1f}" for trial in trials)
    return (
        f"{deaths} workers in a row were lost while they had it, the last {len(trials)} while they ran nothing else "
        f"(another worker had it {after} s after they had begun it). If nothing else ended them, it ends the process "
        "it runs in: look at what it was doing, and resume it when the cause is gone"
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
    ) -> None:
        self._store = store
        self._driver = driver
        self._intake = intake
        self._nonce = nonce
        self._token = token
        self._patience = patience
        self._done = done
        self._pause = pause
        self._suspects: dict[str, tuple[Claimed, Mailbox | None, int]] = {}
        """Each with how many trials it has had."""
        self._wanted = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether suspects wait or are tried: nothing else is to be claimed meanwhile."""
        return bool(self._suspects)

    async def holds(self, claimed: Claimed, box: Mailbox | None) -> bool:
        """Look at the log of an instance whose owner died; True if it is a suspect and will be tried, or parked."""
        if claimed.instance_id in self._suspects:
            return True
        after = max(claimed.run_from - 1, claimed.head - _TAIL)
        page = await self._store.read(claimed.instance_id, after=after, limit=_TAIL)
        deaths, trials = deaths_and_trials(decode_commit(row.body) for row in page.rows) if page else (0, ())
        if deaths < _SUSPICIOUS:
            return False
        if len(trials) >= _TRIALS:
            reason = _what_was_seen(deaths, trials)
            logger.error("instance %s is parked: %s", claimed.instance_id, reason, extra=about(claimed))
            self._intake.park(claimed, reason)
            return True
        self._suspects[claimed.instance_id] = (claimed, box, len(trials))
        self._wanted.set()
        return True

    def forget(self) -> None:
        """The suspects belong to others now."""
        self._suspects.clear()

    async def run(self) -> None:
        """Try suspects, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._suspects:
                claimed, box, trials = next(iter(self._suspects.values()))
                try:
                    await self._try(claimed, box, trials)
                except StorageError as error:
                    logger.warning(
                        "instance %s: its trial is put off: %s", claimed.instance_id, error, extra=about(claimed)
                    )
                    await asyncio.sleep(1)
                finally:
                    self._suspects.pop(claimed.instance_id, None)
                    self._driver.attempts.let_go_on()
            self._done()

    async def _try(self, claimed: Claimed, box: Mailbox | None, trials: int) -> None:
        attempts = self._driver.attempts
        attempts.hold()
        if not await attempts.all_ended(self._patience):
            logger.warning(
                "instance %s may be killing its workers, and cannot be tried alone: others do not end",
                claimed.instance_id,
                extra=about(claimed),
            )
            await self._intake.take_up(claimed, (), box)
            return
        await self._pause(_QUIET * 2**trials)
        logger.warning(
            "instance %s may be killing its workers: it is tried alone", claimed.instance_id, extra=about(claimed)
        )
        mark = owner_changed(self._driver.clock.now(), self._token(), "", alone=True)
        nonce = self._nonce()
        if await self._write(claimed, nonce, mark) is not Outcome.ACCEPTED:
            return
        marked = msgspec.structs.replace(claimed, head=claimed.head + 1, head_writer=nonce)
        await self._intake.take_up(marked, (), box)
        live = self._driver.live.get(claimed.instance_id)
        if live is None or live.head > claimed.head + 1:
            return
        if not (live.attempts or live.inputs or live.in_flight):
            self._driver.clear(live)  # it has been replayed and waits: nothing of it runs that could end anybody
            return
        moved = asyncio.Event()
        live.moved = moved.set
        attempts.hold(only=live)
        try:
            async with asyncio.timeout(self._patience):
                await moved.wait()
        except TimeoutError:
            self._driver.clear(live)
        finally:
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

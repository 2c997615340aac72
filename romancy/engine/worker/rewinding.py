"""Takes an instance back to its log when the log has refused what its run decided.

What happened is written before anything is decided from it again. The ends of attempts are nowhere but in memory: they
are appended by themselves, as a row that no message can refuse (`InputDeferred`). Then the log is read, and a run that
has followed it takes the place of the old one. The instance stays loaded meanwhile, and its slot stays taken: its
attempts go on, its mail stays here, and ends that come queue up as they do behind any append.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger
from romancy.core import Activation, encode_commit
from romancy.engine.aftermath import aftermath_of
from romancy.engine.pending_append import PendingAppend
from romancy.engine.slot import FREE, GONE
from romancy.engine.unwritten import what_happened
from romancy.engine.worker.recovery import claimed_again
from romancy.errors import StorageUnavailableError
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from romancy.core import Input
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.unwritten import Happened, Unwritten
    from romancy.engine.worker.recovery import Recovery

__all__ = ["Rewinding"]

logger = get_logger("romancy.engine")

_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class Rewinding:
    """The instances of a worker that are being taken back to their logs."""

    def __init__(self, driver: Driver, recovery: Recovery, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """`spawn` runs what asks the database as long as the worker lasts."""
        self._driver = driver
        self._recovery = recovery
        self._spawn = spawn

    def go_back(
        self,
        unwritten: Unwritten,
        *,
        instead: Input | None = None,
        first: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Take the instance back to its log, and go on from there. `first` is awaited before that.

        The slot is taken. `instead` is how the attempt ended whose session was rolled back. None: it is made again.
        """
        live = unwritten.live
        self._close(live)
        self._driver.take_back(unwritten)
        self._write(live, what_happened(unwritten, instead), lambda: self._spawn(self._follow(live, first)))

    def park(self, unwritten: Unwritten, reason: str, *, cause: Exception | None = None) -> None:
        """Record what happened, also what was not fed, and make the instance stuck."""
        live = unwritten.live
        self._close(live)
        happened = what_happened(unwritten, None)
        rest = self._driver.take_ended(live)
        for end, port in zip(rest.ends, rest.ports, strict=True):
            happened.add(end, port)
        if live.slot is FREE:
            live.take_slot()
        self._write(live, happened, lambda: self._give_up(live, reason, cause))

    def _close(self, live: Live) -> None:
        live.run.close()
        if self._driver.observer is not None:
            self._driver.observer.not_sent(live)

    def _write(self, live: Live, happened: Happened, then: Callable[[], None]) -> None:
        """Append what happened, and then go on. If nothing happened that the log lacks, go on at once."""
        if not happened.events:
            then()
            return
        driver = self._driver
        body, sends = encode_commit(happened.events), happened.sends()
        item = live.append_again(
            driver.incarnation.nonce(),
            body,
            outbox=sends.outbox,
            deliveries=sends.deliveries,
            postings=sends.postings,
        )
        activation = Activation(events=happened.events, effects=[], status=live.shown)
        settle, fed = functools.partial(self._settle, then), [(end, None) for end in happened.ends]
        worker, ports = driver.incarnation.token, happened.by_end()
        driver.writer.put(PendingAppend(settle, live, item, worker, activation, fed, ports, None, aftermath_of(item)))

    def _settle(self, then: Callable[[], None], written: PendingAppend, outcome: Outcome) -> None:
        live, driver = written.live, self._driver
        if outcome is Outcome.ACCEPTED:
            live.written(written.item)
            written.tell_committed(driver.observer, driver.dispatcher)
        if live.moves is not None:
            live.moves.set()
        if live.slot is GONE:
            return  # it was dropped while this append was in flight
        if outcome is Outcome.ACCEPTED:
            then()
        elif outcome is Outcome.INVALID:
            error = driver.writer.refusal(live.instance_id)
            self._give_up(live, f"what happened cannot be written: {type(error).__name__}: {error}", error)
        else:
            driver.reports.lost(written, outcome)

    def _give_up(self, live: Live, reason: str, cause: Exception | None) -> None:
        self._recovery.park(claimed_again(live), reason, cause=cause, loaded=live)

    async def _follow(self, live: Live, first: Callable[[], Awaitable[object]] | None) -> None:
        """Put a run that has followed the log in the place of the old one, however long the database is away."""
        pause = _PAUSE
        while live.slot is not GONE:
            try:
                if first is not None:
                    await first()
                await self._recovery.follow(live)
                return
            except StorageUnavailableError as error:
                logger.warning(
                    "instance %s: its log cannot be read yet, tried again in %.1f s: %s",
                    live.instance_id, pause, error, extra=about(live),
                )  # fmt: skip
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 - the instance is parked with it
                self._give_up(live, f"unexpected {type(error).__name__} while its log was read: {error}", error)
                return

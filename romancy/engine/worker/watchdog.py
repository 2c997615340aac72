"""Watches the event loop from a thread, logs what blocks it, and renews the lease for a while.

User code that blocks (a synchronous client, a long computation in an `async def`) stops everything else in the process:
other workflows, heartbeats, the detection of timeouts. The thread therefore asks the loop for an answer at intervals.
If none comes, it logs what the loop is doing. Meanwhile another thread sends heartbeats over a connection of its own,
so that a slow worker is not declared dead and its work is not repeated. If the loop stays blocked, the heartbeats end
and other workers take over.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.storage.protocol import Store

__all__ = ["SecondHeartbeat", "Watchdog", "watching"]

logger = get_logger("romancy.engine")

_LEASES_BLOCKED: Final = 10


class SecondHeartbeat:
    """Sends heartbeats for a worker whose event loop is blocked, on a loop and a store of its own."""

    def __init__(self, another: Callable[[], Store], keeper: LeaseKeeper, lease: float) -> None:
        self._another = another
        self._keeper = keeper
        self._lease = lease

    @property
    def after(self) -> float:
        """Seconds that the loop may be blocked before these heartbeats begin."""
        return self._lease / 3

    def renew_until(self, answered: threading.Event) -> None:
        """Send heartbeats until the loop answers or was blocked for too many leases. Blocks, and never raises."""
        try:
            asyncio.run(self._beat(answered))
        except Exception:
            logger.exception("no heartbeat for a blocked event loop")

    async def _beat(self, answered: threading.Event) -> None:
        leases, until = self._keeper.leases, time.monotonic() + _LEASES_BLOCKED * self._lease
        store = self._another()
        await store.open(migrate=False)
        try:
            while not answered.is_set():
                if time.monotonic() > until:
                    logger.error("the event loop is blocked for too long: other workers take over")
                    return
                try:
                    if not await leases.renew_through(store):
                        return
                except StorageError as error:
                    logger.warning("no heartbeat for a blocked event loop: %s", error)
                await asyncio.to_thread(answered.wait, self.after / 2)
        finally:
            await store.close()


def watching(
    patience: float | None, another: Callable[[], Store] | None, keeper: LeaseKeeper, lease: float
) -> Watchdog | None:
    """A started watchdog; None without `patience`. Without `another` store it sends no heartbeats."""
    if patience is None:
        return None
    watchdog = Watchdog(patience, None if another is None else SecondHeartbeat(another, keeper, lease))
    watchdog.start()
    return watchdog


class Watchdog:
    """Asks the event loop on which it was made for answers, from a thread."""

    def __init__(self, patience: float, heart: SecondHeartbeat | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._patience = patience
        self._heart = heart
        self._pace = patience / 2 if heart is None else min(patience, heart.after) / 2
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="romancy-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop asking. Heartbeats under way end by themselves."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._pace):
            answered = threading.Event()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed
            if not answered.wait(self._pace):
                self._outlast(answered, asked)

    def _outlast(self, answered: threading.Event, asked: float) -> None:
        """Handle a loop that does not answer: start the heartbeats, warn, and log how long it was blocked."""
        beating = told = False
        looked = time.monotonic()
        excused = max(0.0, looked - asked - 2 * self._pace)
        while not answered.wait(self._pace / 2) and not self._stop.is_set():
            now = time.monotonic()
            # If this thread was late as well, the whole process stood still: the loop gets that time in addition.
            excused, looked = excused + max(0.0, now - looked - self._pace), now
            if self._heart is not None and not beating and now - asked > self._heart.after:
                beating = True
                name = "romancy-second-heart"
                threading.Thread(target=self._heart.renew_until, args=(answered,), name=name, daemon=True).start()
            if not told and now - asked - excused > self._patience:
                told = True
                self._tell()
        blocked = time.monotonic() - asked
        if blocked > self._patience and not self._stop.is_set():
            logger.warning("the event loop was blocked for %.1f s", blocked)

    def _tell(self) -> None:
        # There is no other way to see what another thread is doing.
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "an unknown call"
        logger.warning(
            "the event loop has been blocked for more than %g s: nothing else runs in this process. Make the call "
            "below await, put it into an activity that is a plain `def`, or allow more with warn_when_blocked=.\n%s",
            self._patience,
            stack,
        )

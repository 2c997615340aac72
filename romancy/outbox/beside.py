"""A relay beside a worker: it begins with the worker and drains with it. An error ends neither it nor the app."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.engine.surroundings import here
from romancy.errors import UsageError
from romancy.outbox._relay import Relay
from romancy.outbox.running import Relaying

if TYPE_CHECKING:
    from romancy.storage.outbox import Outbox
    from romancy.storage.protocol import Store

__all__ = ["Beside"]

logger = get_logger("romancy.outbox")

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class Beside:
    """The relay of an app, if it has one."""

    def __init__(self, relay: Relay | None) -> None:
        if relay is not None and not isinstance(relay, Relay):  # pyright: ignore[reportUnnecessaryIsInstance] - as in Relay
            raise UsageError(f"relay= takes a romancy.outbox.Relay, not a {type(relay).__name__}")
        self.relay = relay
        self._relaying: Relaying | None = None
        self._running: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._grace = 0.0

    @property
    def at_work(self) -> Relaying | None:
        """The running relay. None before the sender is entered, and in the pause after an error."""
        return self._relaying if self._relaying is not None and self._relaying.works else None

    @property
    def begins(self) -> bool:
        """Whether it has begun and the sender is not entered yet."""
        if self._running is None or self._running.done():
            return False
        return self._relaying is None or self._relaying.works is None

    def outbox_of(self, store: Store) -> Outbox | None:
        """The outbox to relay from. None without a relay. Raises MissingServiceError if the store has no outbox."""
        return None if self.relay is None else store.services.outbox

    def begin(self, outbox: Outbox | None) -> None:
        """Relay from this outbox until `end`."""
        if self.relay is not None and outbox is not None:
            self._ending, self._relaying = asyncio.Event(), None
            self._running = asyncio.create_task(self._run(self.relay, outbox))

    async def end(self, grace: float) -> None:
        """Claim nothing more, let attempts end within `grace` seconds, and give the others back."""
        running, self._running = self._running, None
        if running is None:
            return
        self._grace = grace
        self._ending.set()
        if self._relaying is not None:
            self._relaying.stop()
        await running

    async def _run(self, relay: Relay, outbox: Outbox) -> None:
        """Relay, and begin again after an error: a broker may come later than the app."""
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            self._relaying, begun = Relaying(relay, outbox), here().seconds()
            try:
                await self._relaying.run(lambda: self._grace)
            except UsageError:
                logger.exception("the relay has ended and is not restarted; the app continues without it")
                return
            except Exception:
                pause = _FIRST_PAUSE if here().seconds() - begun > _LONGEST_PAUSE else pause
                then = "another relay sends the events that it had claimed"
                if not self._ending.is_set():
                    then = f"it is restarted in {pause:g} s"
                logger.exception("the relay ended with an error; %s", then)
                self._relaying.works = False  # it may have ended before it worked
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._ending.wait()
                pause = min(2 * pause, _LONGEST_PAUSE)

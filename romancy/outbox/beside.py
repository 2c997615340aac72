"""A relay beside a worker: it begins with the worker and drains with it. An error ends neither it nor the app."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.errors import UsageError
from romancy.outbox._relay import Relay
from romancy.outbox.running import Relaying

if TYPE_CHECKING:
    from romancy.storage.outbox import Outbox

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

    def begin(self, outbox: Outbox) -> None:
        """Relay from this outbox until `end`."""
        if self.relay is not None:
            self._ending = asyncio.Event()
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
            self._relaying, begun = Relaying(relay, outbox), time.monotonic()
            try:
                await self._relaying.run(lambda: self._grace)
            except UsageError:
                logger.exception("the relay has ended and does not begin again; the app goes on without it")
                return
            except Exception:
                pause = _FIRST_PAUSE if time.monotonic() - begun > _LONGEST_PAUSE else pause
                then = "what it had claimed is sent by another one"
                if not self._ending.is_set():
                    then = f"it begins again in {pause:g} s"
                logger.exception("the relay ended with an error; %s", then)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._ending.wait()
                pause = min(2 * pause, _LONGEST_PAUSE)

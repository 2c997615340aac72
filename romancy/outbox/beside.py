"""A relay beside a worker: it begins with the worker, drains with it, and its end is no end of the app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy._logs import get_logger
from romancy.errors import UsageError
from romancy.outbox._relay import Relay
from romancy.outbox.running import Relaying

if TYPE_CHECKING:
    from romancy.storage.outbox import Outbox

__all__ = ["Beside"]

logger = get_logger("romancy.outbox")


class Beside:
    """The relay of an app, if it has one."""

    def __init__(self, relay: Relay | None) -> None:
        if relay is not None and not isinstance(relay, Relay):  # pyright: ignore[reportUnnecessaryIsInstance] - as in Relay
            raise UsageError(f"relay= takes a romancy.outbox.Relay, not a {type(relay).__name__}")
        self.relay = relay
        self._relaying: Relaying | None = None
        self._running: asyncio.Task[None] | None = None
        self._grace = 0.0

    def begin(self, outbox: Outbox) -> None:
        """Relay from this outbox until `end`."""
        if self.relay is not None:
            self._relaying = Relaying(self.relay, outbox)
            self._running = asyncio.create_task(self._relaying.run(lambda: self._grace))

    async def end(self, grace: float) -> None:
        """Claim nothing more, let attempts end within `grace` seconds, and give the others back."""
        relaying, running = self._relaying, self._running
        self._relaying, self._running = None, None
        if relaying is None or running is None:
            return
        self._grace = grace
        relaying.stop()
        try:
            await running
        except Exception:
            logger.exception("the relay ended with an error; what it had claimed is sent by another one")

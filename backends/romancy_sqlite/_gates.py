"""The test's gate (`Store.gate`) for a thread, which hands over to the event loop before each statement."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    from romancy.storage.protocol import Gate

__all__ = ["ThreadGate"]


class ThreadGate:
    """One call's passage through the gate. After `abandon`, its next statement raises and the transaction ends."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._waiting: Future[None] | None = None
        self._abandoned = threading.Event()

    def __call__(self, statement: str) -> None:
        if self._abandoned.is_set():
            raise CancelledError
        self._waiting = asyncio.run_coroutine_threadsafe(self._gate(statement), self._loop)
        if self._abandoned.is_set():  # abandoned in the meantime; `abandon` may have met an older wait
            self._waiting.cancel()
        self._waiting.result()

    def abandon(self) -> None:
        """Give up: the caller was cancelled."""
        self._abandoned.set()
        if self._waiting is not None:
            self._waiting.cancel()

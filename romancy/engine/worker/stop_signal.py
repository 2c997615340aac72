"""Handles the POSIX signals that tell a process to stop (SIGTERM, SIGINT)."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Final

from romancy.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["ToldToStop"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ToldToStop:
    """While the block lasts, the first of these signals sets an event; a second one has its usual effect."""

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("only the main thread receives signals: call serve() there, or call drain() yourself")
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._stop_listening()

    def _hear(self) -> None:
        self._stop_listening()
        self._told.set()

    def _stop_listening(self) -> None:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    async def wait(self) -> None:
        """Return once a signal has arrived."""
        await self._told.wait()

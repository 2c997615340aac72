"""Handles the signals that tell a process to stop: SIGTERM and SIGINT, and on Windows Ctrl-Break too."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Self

__all__ = ["STOPPING", "ToldToStop"]

# What tells a process to stop.
if sys.platform == "win32":  # where no other process can send SIGTERM
    STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGBREAK)
else:
    STOPPING: Final = (signal.SIGTERM, signal.SIGINT)

_LOOK_EVERY: Final = 0.5


class ToldToStop:
    """While the block lasts, the first of these signals sets an event; a second one has its usual effect."""

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("only the main thread receives signals: call serve() there, or call drain() yourself")
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._listening: _OfLoop | _OfPython = _OfLoop(self._loop)

    def __enter__(self) -> Self:
        try:
            self._listening.begin(self._hear)
        except NotImplementedError:  # the loops of Windows
            self._listening = _OfPython(self._loop)
            self._listening.begin(self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._listening.end()

    def _hear(self) -> None:
        self._listening.end()
        self._told.set()

    def tell(self) -> None:
        """Let `wait` return as after a signal."""
        self._hear()

    async def wait(self) -> None:
        """Return once a signal has arrived."""
        await self._told.wait()


class _OfLoop:
    """The loop's own handlers of signals."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def begin(self, hear: Callable[[], None]) -> None:
        for number in STOPPING:
            self._loop.add_signal_handler(number, hear)

    def end(self) -> None:
        for number in STOPPING:
            self._loop.remove_signal_handler(number)


class _OfPython:
    """Python's handlers, for a loop that has none.

    They run when the main thread next runs Python code. A proactor loop wakes for them; for others, a timer does it.
    A signal that the process ignores stays ignored.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, hear: Callable[[], None]) -> None:
        def handle(_: int, __: FrameType | None) -> None:
            self.end()  # at once: the loop may be blocked, and then a second signal ends the process
            self._loop.call_soon_threadsafe(hear)

        for number in self._heard:
            signal.signal(number, handle)
        self._wake()

    def _wake(self) -> None:
        if self._heard:
            self._timer = self._loop.call_later(_LOOK_EVERY, self._wake)

    def end(self) -> None:
        heard, self._heard = self._heard, []
        for number in heard:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""The callbacks and timers of a loop, and limits on how many may run before a run makes progress."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from romancy.core.loop.numbered import hash_by_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

__all__ = ["GIVES_WAY", "HOLDS_OUT", "MOST", "SLEEP", "TURNS", "Ready", "Timer", "effort_of"]

GIVES_WAY: Final = 3
"""How many budgets of callbacks beyond the first may run without progress, if an event may come from outside the loop.

Progress means that an awaited future is done.
"""

HOLDS_OUT: Final = 10
"""The same limit if no event can come from outside. The run is then parked."""

TURNS: Final = 100
"""How many turns each ready callback may give away in the meantime, if that allows more."""

MOST: Final = 200
"""How many budgets of callbacks may run in all without a command."""

_CANCELLED: Final = 10

SLEEP: Final = asyncio.sleep.__code__
"""The code of a coroutine that only sleeps."""


class Ready(asyncio.Handle):
    """A handle without the additions of a debugging loop."""

    __slots__ = ("_order",)

    __hash__ = hash_by_number

    def __init__(self, callback: Callable[..., object], args: Any, loop: Any, context: Context) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = context
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class Timer(asyncio.TimerHandle):
    """A timer of the run; `id` is set once it is in the log. Only a sleep has a `delay`; a limit has none."""

    __slots__ = ("delay", "id")

    def __init__(self, when: float, callback: Callable[..., object], args: Any, loop: Any, context: Any) -> None:
        super().__init__(when, callback, args, loop, context)
        self.id: str | None = None
        self.delay: float | None = None

    def is_sleep_of(self, future: object) -> bool:
        """Whether it ends a sleep, and this is the future that the sleep awaits."""
        args: Any = self._args  # None once it was cancelled
        return self.delay is not None and bool(args) and args[0] is future


def effort_of(handle: asyncio.Handle) -> int:
    """How far a callback is from progress; 0 if it reports that an awaited future is done.

    A cancellation that is delivered again and again, as by anyio's scopes, counts for more than a turn given away.
    """
    args = handle._args  # noqa: SLF001 - the arguments of a callback show its purpose
    told = args[0] if args else None
    if not isinstance(told, asyncio.Future) or not told.done():
        return 1
    return _CANCELLED if told.cancelled() else 0

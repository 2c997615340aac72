"""What a loop has to do: callbacks and timers, and how much of it may be done before a run gets somewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from romancy.core._numbered import hash_by_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

__all__ = ["GIVES_WAY", "HOLDS_OUT", "MOST", "TURNS", "Ready", "Timer", "effort_of"]

GIVES_WAY: Final = 3
"""How many budgets of callbacks may run beyond the first while nothing that was awaited comes about, if something may
come from outside the loop."""

HOLDS_OUT: Final = 10
"""The same if nothing may: the run is parked then."""

TURNS: Final = 100
"""How often each of those that are ready may give its turn away meanwhile, if that is more."""

MOST: Final = 200
"""How many budgets of callbacks may run in all without a command."""

_CANCELLED: Final = 10


class Ready(asyncio.Handle):
    """A handle without what a debugging loop adds to it."""

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
    """A timer of the run; `id` once it has been written to the log. Only a sleep has a `delay`; a limit has none."""

    __slots__ = ("delay", "id")

    def __init__(self, when: float, callback: Callable[..., object], args: Any, loop: Any, context: Any) -> None:
        super().__init__(when, callback, args, loop, context)
        self.id: str | None = None
        self.delay: float | None = None


def effort_of(handle: asyncio.Handle) -> int:
    """How far a callback is from getting on: not at all if it tells that what was awaited has come about.

    A cancellation that is delivered again and again, as anyio's scopes do, counts for more than a turn given away.
    """
    args = handle._args  # noqa: SLF001 - what a callback is called with says what it is for
    told = args[0] if args else None
    if not isinstance(told, asyncio.Future) or not told.done():
        return 1
    return _CANCELLED if told.cancelled() else 0

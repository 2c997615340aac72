"""The limit of one attempt: it asks the attempt to stop, and becomes the attempt's error if the attempt does stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from romancy.engine.log_lines import say_late

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from romancy.engine.activities.attempt import Attempt

__all__ = ["Limit"]


class Limit:
    """A block that is cancelled when the limit is reached. It raises `error` if its code stops because of that.

    Code that returns or raises something else after the limit has done so: that is the outcome, and is logged as late.
    """

    def __init__(self, attempt: Attempt, error: Exception, reached: Callable[[Attempt, Exception], bool]) -> None:
        """`reached` records that the attempt is asked to stop. It returns False if that was done before."""
        self._attempt = attempt
        self._error = error
        self._reached = reached
        self._loop = asyncio.get_running_loop()
        self._scope = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def count_from(self, begun: float, seconds: float) -> None:
        """Reach the limit so many seconds after this time of the loop."""
        if not self._is_over:
            self._timer = self._loop.call_at(begun + seconds, self.reach)

    def reach(self) -> None:
        """The limit is reached now."""
        if not self._is_over and self._reached(self._attempt, self._error):
            self._scope.reschedule(self._loop.time())

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._error from error  # says where its code was stopped
        if self._scope.expired() and not isinstance(error, asyncio.CancelledError):
            say_late(self._attempt, error)

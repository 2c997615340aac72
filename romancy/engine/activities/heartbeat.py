"""Watches an attempt that promised heartbeats, and stops it when it is silent for too long."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from romancy.errors import HeartbeatTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.engine.activities.port import Port

__all__ = ["watched"]

_LATE: Final = 0.1


@asynccontextmanager
async def watched(port: Port, activity: str, limit: float) -> AsyncGenerator[None]:
    """Cancel the block once its port has heard nothing for `limit` seconds, and raise HeartbeatTimeoutError.

    Time does not count before the port's first heartbeat (the attempt may wait for a thread), nor while the event loop
    stood still and the attempt could not report. A heartbeat costs one look at the clock and may come from any thread.
    """
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(None)
    timer: asyncio.TimerHandle | None = None

    def look_in(left: float) -> None:
        nonlocal timer
        timer = loop.call_later(left, look, time.monotonic() + left)

    def look(planned: float) -> None:
        now, heard = time.monotonic(), port.heard_at
        stood_still = now - planned > limit * _LATE
        left = limit if heard is None or stood_still else heard + limit - now
        if left > 0:
            look_in(left)
        else:
            scope.reschedule(loop.time())

    look_in(limit)
    try:
        async with scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise HeartbeatTimeoutError(
            f"activity {activity} sent no heartbeat for {limit:g} s, its heartbeat_timeout: "
            "call activity_context().heartbeat() more often in it, or allow more"
        ) from None
    finally:
        if timer is not None:
            timer.cancel()

"""Watches an attempt that promised heartbeats, and asks it to stop when it is silent for too long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.engine.activities.limits import Limit
    from romancy.engine.activities.port import Port

__all__ = ["watched"]

_LATE: Final = 0.1


@asynccontextmanager
async def watched(port: Port, limit: Limit, silence: float) -> AsyncGenerator[None]:
    """The block of the limit, which is reached once the attempt's port has heard nothing for `silence` seconds.

    Time does not count before the port's first heartbeat (the attempt may wait for a thread), nor while the event loop
    stood still and the attempt could not report. A heartbeat costs one look at the clock and may come from any thread.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def look_in(left: float) -> None:
        nonlocal timer
        timer = loop.call_later(left, look, here().seconds() + left)

    def look(planned: float) -> None:
        now, heard = here().seconds(), port.heard_at
        stood_still = now - planned > silence * _LATE
        left = silence if heard is None or stood_still else heard + silence - now
        if left > 0:
            look_in(left)
        else:
            limit.reach()

    look_in(silence)
    try:
        async with limit:
            yield
    finally:
        if timer is not None:
            timer.cancel()

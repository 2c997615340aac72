"""Runs a script that is only a worker, until its process is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy._logs import get_logger
from romancy.engine import ToldToStop
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["serve"]

logger = get_logger("romancy")


async def serve(drain: Callable[[float], Awaitable[None]], grace: float, *, works: bool) -> None:
    """As `Romancy.serve` promises. `works`: whether the app has a worker."""
    if not works:
        raise UsageError(
            "serve() needs a worker, and this app was made with worker=False: leave that out, open the app with "
            "`async with app.with_worker():`, or let `romancy run MODULE:APP` run it"
        )
    with ToldToStop() as told:
        await told.wait()
        logger.info("told to stop: activities have %.0f s to end", grace)
    await drain(grace)

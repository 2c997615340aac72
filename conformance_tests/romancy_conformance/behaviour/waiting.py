"""Waits for conditions that nothing reports to a test: inside a worker, a thread or another process."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy import Romancy

__all__ = ["joined", "reason_is", "status_is", "until"]

_LONGEST = 60.0
_PAUSE = 0.01


async def until(so: Callable[[], object]) -> None:
    """Ask again and again until the answer is true; an awaitable answer is awaited."""
    async with asyncio.timeout(_LONGEST):
        while True:
            answer = so()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(_PAUSE)


async def status_is(app: Romancy, instance_id: str, status: Status) -> None:
    """Wait until the instance shows this status."""

    async def shown() -> bool:
        instance = await app.get_instance(instance_id)
        return instance is not None and instance.status is status

    await until(shown)


async def reason_is(app: Romancy, instance_id: str, words: str) -> None:
    """Wait until the instance is stuck for this reason."""

    async def shown() -> bool:
        instance = await app.get_instance(instance_id)
        return instance is not None and instance.status is Status.STUCK and words in (instance.error or "")

    await until(shown)


async def joined(app: Romancy, members: int, channel: str = "orders") -> None:
    """Wait until the channel has so many subscribers."""

    async def so_many() -> bool:
        return len(await app.channel(channel).members()) == members

    await until(so_many)

"""Acts on every instance that a search finds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.errors import InstanceNotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy.instance import Instance

__all__ = ["each", "if_still", "if_there", "named"]

_AT_ONCE: Final = 20


async def if_still(act: Awaitable[None]) -> bool:
    """Act on an instance. False if it was no longer in the state in which the search found it."""
    try:
        await act
    except UsageError:
        return False  # another caller was faster
    return True


async def if_there(act: Awaitable[bool]) -> bool:
    """Act on an instance. False if it has ended, or was removed since the search found it."""
    try:
        return await act
    except InstanceNotFoundError:
        return False


async def named(found: AsyncIterator[Instance], part: str | None) -> AsyncIterator[Instance]:
    """Those whose workflow's name contains the part letter by letter. In a list, the case does not count."""
    async for instance in found:
        if not part or part in instance.workflow_name:
            yield instance


async def each(found: AsyncIterator[Instance], act: Callable[[str], Awaitable[bool]], *, dry_run: bool) -> list[str]:
    """Act on every instance found, 20 at a time, and return the ids of those on which it had an effect."""
    ids = [instance.instance_id async for instance in found]
    if dry_run:
        return ids
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(instance_id: str) -> bool:
        async with limit:
            return await act(instance_id)

    done = await asyncio.gather(*(one(instance_id) for instance_id in ids))
    return [instance_id for instance_id, acted in zip(ids, done, strict=True) if acted]

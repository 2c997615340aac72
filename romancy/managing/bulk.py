"""Acts on every instance that a search finds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.errors import InstanceNotFoundError, UsageError
from romancy.instance import Instance
from romancy.query import InstanceFilter
from romancy.storage.query import MAX_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from romancy.query import FiltersToAct, FilterValue
    from romancy.storage.protocol import Store

__all__ = ["chosen_to_act", "each", "each_of", "found_to_act_on", "if_still", "if_there"]

_AT_ONCE: Final = 20


def chosen_to_act(
    call: str,
    where: Mapping[str, FilterValue] | InstanceFilter | None,
    keywords: FiltersToAct,
    *,
    everything: bool,
) -> InstanceFilter:
    """The filter of a call that acts on many. UsageError: it restricts nothing, and the call does not say so.

    A condition that was forgotten, or whose value is None by mistake, does not act on the whole database.
    """
    chosen = InstanceFilter.of(where, keywords)
    if everything and not chosen.is_empty:
        raise UsageError(f"{call}: everything=True and a condition exclude each other; leave one of them out")
    refused = chosen.instance_id is not None or chosen.workflow_name is not None  # by the search: a part, or empty
    if chosen.is_empty and not everything and not refused:
        raise UsageError(
            f"{call}: no condition is given, so it would act on all instances; give one, such as workflow_name= or "
            "ids=, or say everything=True"
        )
    return chosen


async def found_to_act_on(store: Store, chosen: InstanceFilter) -> AsyncIterator[Instance]:
    """All instances that match, newest first, read page by page. The name of their workflow is exactly this."""
    token: str | None = None
    while True:
        page = await store.services.reading.find(chosen.query(limit=MAX_LIMIT, page_token=token, to_act=True))
        for row in page.rows:
            yield Instance.of(row)
        token = page.next_token
        if token is None:
            return


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


async def each(found: AsyncIterator[Instance], act: Callable[[str], Awaitable[bool]], *, dry_run: bool) -> list[str]:
    """Act on every instance found, 20 at a time, and return the ids of those on which it had an effect."""
    ids = [instance.instance_id async for instance in found]
    return ids if dry_run else await each_of(ids, act)


async def each_of(ids: Sequence[str], act: Callable[[str], Awaitable[bool]]) -> list[str]:
    """Act on these instances, 20 at a time, and return the ids of those on which it had an effect."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(instance_id: str) -> bool:
        async with limit:
            return await act(instance_id)

    done = await asyncio.gather(*(one(instance_id) for instance_id in ids))
    return [instance_id for instance_id, acted in zip(ids, done, strict=True) if acted]

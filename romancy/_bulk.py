"""Acts on every instance that a search finds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from romancy.errors import InstanceNotFoundError, UsageError
from romancy.instance import Instance, microseconds_of
from romancy.storage.query import MAX_LIMIT, build_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
    from datetime import datetime

    from romancy.status import Status
    from romancy.storage.protocol import Store
    from romancy.storage.query import FilterValue

__all__ = ["Chosen", "each", "found_to_act_on", "if_still", "if_there", "statuses_among"]

_AT_ONCE: Final = 20


class Chosen(TypedDict, total=False):
    """What an action on many is restricted to, beside a filter."""

    workflow_name: str | None
    """The whole name."""
    status: str | Iterable[str] | None
    started_after: datetime | None
    started_before: datetime | None
    ended_after: datetime | None
    ended_before: datetime | None
    headers: Mapping[str, FilterValue] | None


async def found_to_act_on(
    store: Store, where: Mapping[str, FilterValue] | None, **chosen: Unpack[Chosen]
) -> AsyncIterator[Instance]:
    """All instances that match, newest first, read page by page. The name of their workflow is exactly this."""
    token: str | None = None
    while True:
        query = build_query(
            where,
            named=chosen.get("workflow_name"),
            status=chosen.get("status"),
            since=microseconds_of(chosen.get("started_after"), "started_after"),
            until=microseconds_of(chosen.get("started_before"), "started_before"),
            ended_since=microseconds_of(chosen.get("ended_after"), "ended_after"),
            ended_until=microseconds_of(chosen.get("ended_before"), "ended_before"),
            limit=MAX_LIMIT,
            page_token=token,
            headers=chosen.get("headers"),
        )
        page = await store.find(query)
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
    if dry_run:
        return ids
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(instance_id: str) -> bool:
        async with limit:
            return await act(instance_id)

    done = await asyncio.gather(*(one(instance_id) for instance_id in ids))
    return [instance_id for instance_id, acted in zip(ids, done, strict=True) if acted]


def statuses_among(
    asked: str | Iterable[str] | None, allowed: Collection[Status], what: str, further: str = ""
) -> tuple[Status, ...]:
    """The statuses to act on, by default all that are allowed. UsageError: one is not, and `what` says why."""
    statuses = build_query(status=allowed if asked is None else asked).statuses
    if others := sorted(one.value for one in statuses if one not in allowed):
        raise UsageError(f"{what}, not {', '.join(others)} ones{further and '; '}{further}")
    return statuses

"""Lookups in any store: by its service of lookups, or without that service instance by instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.lookups import PAGE
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from romancy.storage.lookups import Lying
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow

__all__ = ["first_commits_of", "last_commits_of", "lying_in", "taken_ids_of"]


async def lying_in(store: Store, instance_id: str | None = None, *, most: int) -> AsyncIterator[Lying]:
    """The first `most` messages in the inbox of an instance, or in all, page by page. Nothing if it cannot be read."""
    if Service.LOOKUPS not in store.services.offered:
        return
    after = (instance_id or "", "")
    while most > 0:
        page = await store.services.lookups.lying(instance_id, after=after, limit=min(most, PAGE))
        for each in page:
            yield each
        if not page:
            return
        most -= len(page)
        after = (page[-1].instance_id, page[-1].row.delivery_id)


async def taken_ids_of(store: Store, instance_ids: Sequence[str]) -> set[str]:
    """As `Lookups.taken_ids`, from any store. Without ids, nothing is read."""
    if not instance_ids:
        return set()
    if Service.LOOKUPS in store.services.offered:
        return await store.services.lookups.taken_ids(instance_ids)
    return {one for one in instance_ids if await store.read(one, limit=0) is not None}


async def last_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """As `Lookups.last_commits`, from any store. Without instances, nothing is read."""
    if not instances:
        return {}
    if Service.LOOKUPS in store.services.offered:
        return await store.services.lookups.last_commits(instances)
    return await _one_by_one(store, instances)


async def first_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """By instance id, the commits with which the present runs of these instances began, in the same way."""
    return await last_commits_of(store, [replace(one, last_seq=one.run_from) for one in instances])


async def _one_by_one(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    found: dict[str, LogRow] = {}
    for one in instances:
        page = await store.read(one.instance_id, after=one.last_seq - 1, limit=1)
        if page is not None and page.instance.life == one.life and page.rows and page.rows[0].seq == one.last_seq:
            found[one.instance_id] = page.rows[0]
    return found

"""Reads the commits that last changed the rows of instances: for lists that show how the instances ended.

In the same way, the commits are read with which their runs began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.rooms import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow

__all__ = ["first_commits_of", "last_commits_of"]


async def last_commits_of(store: Store, instances: Sequence[InstanceRow]) -> dict[str, LogRow]:
    """As `Lookups.last_commits`, from any store. Without instances, nothing is read."""
    if not instances:
        return {}
    if Room.LOOKUPS in store.rooms.offered:
        return await store.rooms.lookups.last_commits(instances)
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

"""Asks which ids have instances, so that a repeated start runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.rooms import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

__all__ = ["taken_ids_of"]


async def taken_ids_of(store: Store, instance_ids: Sequence[str]) -> set[str]:
    """As `Lookups.taken_ids`, from any store. Without ids, nothing is read."""
    if not instance_ids:
        return set()
    if Room.LOOKUPS in store.rooms.offered:
        return await store.rooms.lookups.taken_ids(instance_ids)
    return {one for one in instance_ids if await store.read(one, limit=0) is not None}

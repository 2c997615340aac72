"""Asks which ids have instances, so that a repeated start runs nothing.

An adapter may offer this as `taken_ids` of its store. Without it, each instance is read by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

__all__ = ["TakenIds", "taken_ids_of"]


class TakenIds(Protocol):
    async def __call__(self, instance_ids: Sequence[str], /) -> set[str]:
        """Those of the ids under which there is an instance, open or ended.

        It is one statement, which writes and locks nothing and looks into the index of ids alone.
        """
        ...


async def taken_ids_of(store: Store, instance_ids: Sequence[str]) -> set[str]:
    """The same from any store. Without ids, nothing is read."""
    if not instance_ids:
        return set()
    taken_ids: TakenIds | None = getattr(store, "taken_ids", None)
    if taken_ids is not None:
        return await taken_ids(instance_ids)
    return {one for one in instance_ids if await store.read(one, limit=0) is not None}

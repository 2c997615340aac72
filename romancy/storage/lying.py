"""Reads messages that lie in inboxes: what nobody has taken yet, and what fits no wait.

Displays read them, and a retry, which removes old requests to stop. Owners get their mail with a claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.lookups import PAGE
from romancy.storage.rooms import Room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.lookups import Lying
    from romancy.storage.protocol import Store

__all__ = ["lying_in"]


async def lying_in(store: Store, instance_id: str | None = None, *, most: int) -> AsyncIterator[Lying]:
    """The first `most` messages in the inbox of an instance, or in all, page by page. Nothing if it cannot be read."""
    if Room.LOOKUPS not in store.rooms.offered:
        return
    after = (instance_id or "", "")
    while most > 0:
        page = await store.rooms.lookups.lying(instance_id, after=after, limit=min(most, PAGE))
        for each in page:
            yield each
        if not page:
            return
        most -= len(page)
        after = (page[-1].instance_id, page[-1].row.delivery_id)

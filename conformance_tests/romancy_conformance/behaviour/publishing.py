"""What waits to be published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["published"]


async def published(store: Store) -> list[object]:
    """Return the bodies of the messages that wait to be published."""
    return [{"key": None, **json.loads(row.body)} for row in await store.services.outbox.read(100)]

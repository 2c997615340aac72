"""What waits to be published."""

from __future__ import annotations

import json

from romancy.storage.backends import create_store

__all__ = ["published"]


async def published(url: str) -> list[object]:
    store = create_store(url)
    await store.open()
    rows = await store.services.outbox.read(100)
    await store.close()
    return [json.loads(row.body)["data"] for row in rows]

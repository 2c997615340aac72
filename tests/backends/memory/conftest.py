"""Fixtures for tests of the store in memory alone: stores on one database."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, unique
from romancy_sqlite import MemoryStore, memory_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def open_store() -> AsyncIterator[Callable[[], Awaitable[MemoryStore]]]:
    """Open a store on the test's database."""
    url = parse_url(f"memory://{unique('memory')}")
    kept = memory_store(url)
    async with AsyncExitStack() as stack:

        async def opener() -> MemoryStore:
            store = memory_store(url)
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield opener
    del kept


@pytest.fixture
async def actor(open_store: Callable[[], Awaitable[MemoryStore]]) -> Actor:
    """A worker on the test's database."""
    return await Actor(await open_store(), workflows={"flow": "c1"}).register()

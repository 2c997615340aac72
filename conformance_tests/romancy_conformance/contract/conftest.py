"""Fixtures of the contract suite: a fresh database for each test, with as many stores and workers as the test opens."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import Actor, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy.storage.protocol import Store


@pytest.fixture
def anyio_backend() -> str:
    """Stores run on asyncio."""
    return "asyncio"


@pytest.fixture
def workflow_name() -> str:
    """A workflow name that only this test uses; it keeps claims and searches apart on a shared database."""
    return unique("flow")


@pytest.fixture
async def open_store(storage_url: str) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
    """Open one more store on this test's database, as another process would."""
    async with AsyncExitStack() as stack:

        async def opener() -> Store:
            store = create_store(storage_url)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield opener


@pytest.fixture
async def store(open_store: Callable[[], Awaitable[Store]]) -> Store:
    """An opened store on a fresh database."""
    return await open_store()


@pytest.fixture
async def hire(open_store: Callable[[], Awaitable[Store]], workflow_name: str) -> Callable[..., Awaitable[Actor]]:
    """Register one more worker, with its own store, that knows this test's workflow."""

    async def opener(**workflows: str) -> Actor:
        return await Actor(await open_store(), workflows=workflows or {workflow_name: "c1"}).register()

    return opener


@pytest.fixture
async def actor(store: Store, workflow_name: str) -> Actor:
    """A registered worker on the test's first store."""
    return await Actor(store, workflows={workflow_name: "c1"}).register()

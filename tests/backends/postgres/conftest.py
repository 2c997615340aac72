"""Fixtures of the tests for PostgreSQL alone: a fresh database, with stores and workers on it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, unique
from romancy_postgres import create_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy_postgres._store import PostgresStore


@pytest.fixture
def anyio_backend() -> str:
    """The driver runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def open_store(storage_url: str) -> AsyncGenerator[Callable[..., Awaitable[PostgresStore]]]:
    """Open one more store on this test's database, with options for its URL or at another address."""
    async with AsyncExitStack() as stack:

        async def opener(options: str = "", *, url: str = storage_url) -> PostgresStore:
            store = create_store(parse_url(f"{url}?{options}" if options else url))
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield opener


@pytest.fixture
async def store(open_store: Callable[..., Awaitable[PostgresStore]]) -> PostgresStore:
    """An opened store on a fresh database."""
    return await open_store()


@pytest.fixture
async def actor(store: PostgresStore) -> Actor:
    """A registered worker on that store."""
    return await Actor(store, workflows={unique("flow"): "c1"}).register()


@pytest.fixture
async def connection(storage_url: str) -> AsyncGenerator[asyncpg.Connection]:
    """A connection of the test, as the administrator."""
    parts = urlsplit(storage_url)
    plain = await asyncpg.connect(
        host=parts.hostname,
        port=parts.port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path[1:]),
    )
    yield plain
    await plain.close()

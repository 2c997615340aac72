"""Fixtures of the tests for MySQL and MariaDB alone: stores, workers and plain connections."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aiomysql
import pytest

from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, unique
from romancy_mysql._connection import connect
from romancy_mysql._settings import read_settings
from romancy_mysql._store import MySQLStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy_mysql._connection import Wire


@pytest.fixture
def anyio_backend() -> str:
    """The driver runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def open_store(storage_url: str) -> AsyncGenerator[Callable[..., Awaitable[MySQLStore]]]:
    """Open one more store on this test's database, with options for its URL or at another address."""
    async with AsyncExitStack() as stack:

        async def opener(options: str = "", *, url: str = storage_url) -> MySQLStore:
            store = MySQLStore(read_settings(parse_url(f"{url}?{options}" if options else url)))
            stack.push_async_callback(store.close)
            await store.open()
            return store

        yield opener


@pytest.fixture
async def store(open_store: Callable[..., Awaitable[MySQLStore]]) -> MySQLStore:
    """An opened store on a fresh database."""
    return await open_store()


@pytest.fixture
async def actor(store: MySQLStore) -> Actor:
    """A registered worker on that store."""
    return await Actor(store, workflows={unique("flow"): "c1"}).register()


@pytest.fixture
async def wire(storage_url: str) -> AsyncGenerator[Wire]:
    """A connection made as the store makes its own; the test uses it to query and to hold locks."""
    made = await connect(read_settings(parse_url(f"{storage_url}?timeout=200")))
    yield made
    made.abort()


@pytest.fixture
async def theirs(store: MySQLStore, storage_url: str) -> AsyncGenerator[Callable[..., Awaitable[aiomysql.Connection]]]:
    """A connection as a user makes it, with the driver alone; the store's first one has cached the password."""
    made: list[aiomysql.Connection] = []

    async def opener(**options: Any) -> aiomysql.Connection:
        parts = urlsplit(storage_url)
        given: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "db": parts.path[1:],
            "charset": "utf8mb4",
        }
        connection = await aiomysql.connect(**(given | options))
        made.append(connection)
        return connection

    yield opener
    for connection in made:
        connection.close()

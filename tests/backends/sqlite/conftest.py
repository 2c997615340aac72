"""Fixtures for tests of SQLite alone: one file for each test, and stores on it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import Actor, start, unique
from romancy_conformance.stores import migrated_file
from romancy_sqlite import SqliteStore, create_store
from tests.backends.sqlite.dogs import DOG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of this test's database, which need not exist yet."""
    return tmp_path / "romancy.db"


@pytest.fixture
async def open_store(path: Path) -> AsyncIterator[Callable[..., Awaitable[SqliteStore]]]:
    """Open a store on the test's file, or on another path of it, with options for its URL."""
    async with AsyncExitStack() as stack:

        async def opener(at: Path = path, **options: object) -> SqliteStore:
            query = "&".join(f"{name}={value}" for name, value in options.items())
            store = create_store(parse_url(f"sqlite:///{at}?{query}"))
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield opener


@pytest.fixture
def tables(path: Path) -> None:
    """Make the test's file with its tables, where it is missing: migration takes longer than most of the tests."""
    if not path.exists():
        path.write_bytes(migrated_file())


@pytest.fixture
async def store(open_store: Callable[..., Awaitable[SqliteStore]], tables: None) -> SqliteStore:
    """A store on the test's file."""
    return await open_store()


@pytest.fixture
async def actor(store: SqliteStore) -> Actor:
    """A registered worker on it."""
    return await Actor(store, workflows={unique("flow"): "c1"}).register()


@pytest.fixture
async def dogs(store: SqliteStore) -> None:
    """A user's table with one row."""
    async with store.services.sessions.begin() as session:
        native: Any = session.native
        native["dogs"].insert(DOG, pk="id")
        assert await session.commit(start()) is Outcome.ACCEPTED

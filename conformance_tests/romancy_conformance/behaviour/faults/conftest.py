"""Fixtures of the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.behaviour.faults.field import Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from romancy_conformance.servers import Server


async def check_processes(url: str) -> None:
    """Skip a database that lives in one process."""
    store = create_store(url)
    await store.open()
    shared = store.capabilities.processes
    await store.close()
    if not shared:
        pytest.skip("capability: a database of this kind lives in one process")


@pytest.fixture
async def field(storage_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    """A fresh database without workers."""
    await check_processes(storage_url)
    field = Field(storage_url, tmp_path)
    await field.open()
    yield field
    await field.close()


@pytest.fixture
async def server(backend: str, server_for: Callable[[str], Server]) -> Server:
    """A private server of this test, to kill."""
    return server_for(backend)

"""Fixtures of the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.behaviour.faults.field import Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from romancy_conformance.servers import Server


@pytest.fixture
async def field(shared_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    """A fresh database without workers."""
    field = Field(shared_url, tmp_path)
    await field.open()
    yield field
    await field.close()


@pytest.fixture
async def server(backend: str, server_for: Callable[[str], Server]) -> Server:
    """A private server of this test, to kill."""
    return server_for(backend)
